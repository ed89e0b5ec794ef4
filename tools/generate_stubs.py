"""Generate core/jointrisk/rpc/v1 from proto/ (``make proto``), or fail when it is stale (``--check``).

Runs in an environment of its own that holds grpcio-tools and mypy-protobuf: the generator's protobuf need not be the
runtime's.
"""

import argparse
import filecmp
import os
import re
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
STUBS = ROOT / "core" / "jointrisk" / "rpc" / "v1"


def generate(out: Path) -> None:
    """Write the stubs of every .proto file into ``out``, importing each other as ``jointrisk.rpc.v1``."""
    # protoc finds its plugins beside this interpreter, whether or not the environment is activated.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    files = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        arguments = ["protoc", f"-I{PROTO}"]
        arguments += [f"--{plugin}_out={scratch}" for plugin in ("python", "grpc_python", "mypy", "mypy_grpc")]
        if protoc.main([*arguments, *files]) != 0:
            sys.exit("protoc failed")
        for made in (Path(scratch) / "jointrisk" / "v1").iterdir():
            text = re.sub(r"\bjointrisk\.v1(?= import|\.\w+_pb2)", "jointrisk.rpc.v1", made.read_text())
            (out / made.name).write_text(text)
    (out / "__init__.py").write_text('"""Generated from proto/jointrisk/v1 by `make proto`. Do not edit."""\n')


def main() -> None:
    """Regenerate, or compare with what is committed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the stubs are stale")
    if not parser.parse_args().check:
        STUBS.mkdir(parents=True, exist_ok=True)
        for old in STUBS.glob("*.py*"):
            old.unlink()
        generate(STUBS)
        return
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        generate(fresh)
        names = {path.name for path in fresh.iterdir()} | {path.name for path in STUBS.glob("*.py*")}
        stale = sorted(n for n in names if not _same(fresh / n, STUBS / n))
    if stale:
        sys.exit(f"stubs are stale, run `make proto`: {', '.join(stale)}")


def _same(left: Path, right: Path) -> bool:
    return left.exists() and right.exists() and filecmp.cmp(left, right, shallow=False)


if __name__ == "__main__":
    main()
