"""What a curious coordinator, or a reader of logs and disks, looks for: nothing of a row, and no secret, is there."""

import base64
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from disk_witness import DiskWitness
from jointrisk.federation.invitation import decode_token
from jointrisk.learning.bundle import read_unsigned
from jointrisk.learning.encoding import Encoding
from jointrisk.masterkey import MasterKey
from lender_books import Row, add_lender, publish_sample, run_settings, sound_rows, write_book
from local_federation import CommandFailedError, Daemon, LocalFederation
from needles import Needle, everything_under, found_in, number_needles, secret_needles, text_needles

pytestmark = pytest.mark.federation

INCOME, TOO_LARGE = 271828.1875, 98712343.375
NAME, IDENTIFIER, BRANCH = "张三-Marker-Zhang", "110101199003070011", "branch-of-Quokka-Street"
BROKEN = ("not-a-number-Xylophone", "no-category-Zephyr", "no-flag-Walrus", "no-label-Vortex")
SOUND: Row = {"income": INCOME, "purpose": "car", "branch": BRANCH, "has_phone": 1, "bad": 1}
_TELLING = 8
DEBUG = '[log]\nlevel = "debug"\n'


class Remembering(LocalFederation):
    """A federation that remembers its tokens."""

    tokens: tuple[str, ...] = ()

    def invite(self, name: str, *options: str) -> str:
        """Return a one-time token."""
        self.tokens = (*self.tokens, super().invite(name, *options))
        return self.tokens[-1]


@dataclass(frozen=True)
class Aftermath:
    """What is left when a federation has trained, has met a broken book, and has stopped."""

    root: Path
    federation: Remembering
    witness: DiskWitness
    trained: dict[str, Any]
    refused: dict[str, Any]
    said: dict[str, bytes]

    @property
    def daemons(self) -> list[Daemon]:
        """Coordinator and nodes."""
        return [self.federation.coordinator, *self.federation.nodes.values()]

    def places(self) -> dict[str, bytes]:
        """Everything that was written: state directories, logs, what commands said, files that came and went."""
        places = dict(self.said)
        for daemon in self.daemons:
            places |= everything_under(daemon.home)
            places[f"log of {daemon.name}"] = (daemon.home.parent / f"{daemon.name}.log").read_bytes()
        return places | everything_under(self.root / "witnessed")


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    """Two lenders with marked rows train two rounds; then one book is broken and the run is refused."""
    root = tmp_path_factory.mktemp("leaks")
    for name in ("tmp", "home", "books"):
        (root / name).mkdir()
    # Whatever is made without thinking of its permissions is open to everybody then.
    umask = os.umask(0)
    try:
        with Remembering(root / "f", founding_members=2, approvals_required=1) as federation:
            watched = [root / "f" / name for name in ("coordinator", "bank", "shop")]
            with DiskWitness([*watched, root / "tmp", root / "home"], root / "witnessed") as witness:
                return _happen(root, federation, witness)
    finally:
        os.umask(umask)


def _happen(root: Path, federation: Remembering, witness: DiskWitness) -> Aftermath:
    environment = {"TMPDIR": str(root / "tmp"), "HOME": str(root / "home"), "XDG_CACHE_HOME": str(root / "home")}
    federation.coordinator.environment.update(environment)
    federation.init_coordinator(DEBUG)
    federation.coordinator.start()
    publish_sample(federation)
    for name, ending in (("bank", "csv"), ("shop", "parquet")):
        book = write_book(root / "books" / f"{name}.{ending}", _marked([SOUND]))
        add_lender(federation, name, book=book, more_toml=DEBUG, environment=environment)
    federation.wait_online()
    trained = federation.run(run_settings())
    write_book(root / "books" / "bank.csv", _marked(_broken()))
    refused = federation.run(run_settings())
    said = dict(_said(federation))
    federation.stop()
    return Aftermath(root, federation, witness, trained, refused, said)


def _marked(rows: list[Row]) -> list[Row]:
    return [row | {"customer": NAME, "id_number": IDENTIFIER} for row in (*sound_rows(), *rows)]


def _broken() -> list[Row]:
    columns = ("income", "purpose", "has_phone", "bad")
    cells = [SOUND | {column: text} for column, text in zip(columns, BROKEN, strict=True)]
    return [*cells, SOUND | {"income": TOO_LARGE}]


def _said(federation: LocalFederation) -> Iterator[tuple[str, bytes]]:
    """Yield what commands show afterwards."""
    asked: list[tuple[Daemon, str]] = [(federation.coordinator, words) for words in ("runs list", "members", "status")]
    for node in federation.nodes.values():
        asked += [(node, words) for words in ("data check", "members list", "status", "audit list --last 1000")]
    asked.append((federation.coordinator, "audit list --last 1000"))
    for daemon, words in asked:
        yield f"`{daemon.name} {words}`", daemon.command(*words.split(), check=False).encode()
    for run in federation.coordinator.json("runs", "list")["runs"]:
        yield f"`runs show {run['run_id']}`", federation.coordinator.command("runs", "show", run["run_id"]).encode()
    try:
        federation.nodes["bank"].command("data", "check")
    except CommandFailedError as error:
        yield "`bank data check`, stderr", error.stderr.encode()


def _row_needles(aftermath: Aftermath) -> Iterator[Needle]:
    yield from number_needles("an income", INCOME)
    yield from number_needles("an income out of range", TOO_LARGE)
    for what, text in (("a name", NAME), ("an identifier", IDENTIFIER), ("a branch", BRANCH)):
        yield from text_needles(what, text)
    for text in BROKEN:
        yield from text_needles("a broken cell", text)
    left = read_unsigned(aftermath.federation.coordinator.home / "runs" / aftermath.trained["run_id"])
    assert left is not None
    encoding = Encoding.model_validate(left.facts.encoding)
    ordinary = sound_rows()[17]["income"]
    encoded = encoding.encode(np.array([[ordinary, 0, 0, 1]], dtype=np.float32))[0]
    shares = encoded[(encoded != 0) & (encoded != 1)]
    assert len(shares) == 1
    for needle in number_needles("an income as the model sees it", float(shares[0])):
        # Rounded to one or three digits a share is in every second file.
        if not needle.what.endswith("text") or len(needle.form) >= _TELLING:
            yield needle


def _secrets(aftermath: Aftermath) -> Iterator[tuple[str, bytes]]:
    for daemon in aftermath.daemons:
        raw = daemon.key_file.read_bytes()
        key = MasterKey(raw)
        yield f"{daemon.name}'s master key", raw
        kept = {path.stem: path.read_bytes() for path in (daemon.home / "keys").glob("*.sealed")}
        names = {stem: f"node {stem}" for stem in kept} if daemon.role == "node" else _COORDINATORS
        assert set(kept) == set(names)
        for stem, sealed in kept.items():
            yield from _private(f"{daemon.name}'s {stem} key", key.open(names[stem], sealed))
    for token in aftermath.federation.tokens:
        yield "a token's secret", decode_token(token).secret


_COORDINATORS = {"ca": "coordinator ca key", "identity": "coordinator identity key"}


def _private(what: str, opened: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the secret bytes of what a sealed file holds: an Ed25519 seed, or a P-256 key in PEM."""
    pem = json.loads(opened)["key"].encode() if opened.startswith(b"{") else opened
    if not pem.startswith(b"-----"):
        yield what, pem
        return
    key = load_pem_private_key(pem, None)
    assert isinstance(key, EllipticCurvePrivateKey)
    yield what, key.private_numbers().private_value.to_bytes(32, "big")
    yield f"{what}, DER", base64.b64decode(b"".join(pem.splitlines()[1:-1]))


def test_the_federation_trained_and_the_broken_book_was_refused(aftermath: Aftermath) -> None:
    """What follows would prove little if the rows had never been read."""
    assert (aftermath.trained["state"], aftermath.trained["rounds_done"]) == ("done", 2)
    assert aftermath.refused["state"] == "failed"
    reasons = {one["member_id"]: one["reason"] for one in aftermath.refused["participants"]}
    for said in ("income: not a number", "income: out of range", "purpose: category not allowed", "has_phone: flag"):
        assert said in reasons["bank"]
    assert len(list((aftermath.root / "witnessed").glob("*.reply"))) >= 4, "the replies of two rounds were seen"


def test_nothing_of_a_row_is_anywhere(aftermath: Aftermath) -> None:
    """No marked value, in any form, in state, logs, audit logs, file names, answers, or files that came and went."""
    assert found_in(aftermath.places(), _row_needles(aftermath)) == []


def test_the_needles_would_be_found(aftermath: Aftermath) -> None:
    """The same search finds the rows where they are: in the lenders' own books."""
    found = found_in(everything_under(aftermath.root / "books"), _row_needles(aftermath))
    for what in (
        "an income, ",
        "an income out of range, ",
        "a name, ",
        "an identifier, ",
        "a branch, ",
        "a broken cell, ",
    ):
        assert any(one.startswith(what) and "bank.csv" in one for one in found)


def test_no_secret_is_anywhere(aftermath: Aftermath) -> None:
    """No private key, master key, token or its secret, in any form, in any file or log."""
    secrets = list(_secrets(aftermath))
    assert len(secrets) == 3 + (1 + 2) + 2 * (1 + 2) + 2
    needles = [needle for what, secret in secrets for needle in secret_needles(what, secret)]
    needles += [Needle("a token", token[12:60].encode()) for token in aftermath.federation.tokens]
    needles.append(Needle("a private key in PEM", b"PRIVATE KEY-----"))
    assert found_in(aftermath.places(), needles) == []


def test_everything_was_private_from_the_beginning(aftermath: Aftermath) -> None:
    """Files 0600, folders 0700, sockets 0600, also those that came and went, whatever the umask."""
    seen = {
        path: mode for path, mode in aftermath.witness.modes.items() if path.startswith(str(aftermath.federation.root))
    }
    left = {
        str(path): path.lstat().st_mode
        for daemon in aftermath.daemons
        for path in (daemon.home, *daemon.home.rglob("*"))
    }
    open_ones = {
        path: stat.filemode(mode)
        for path, mode in (seen | left).items()
        if stat.S_IMODE(mode) != (0o700 if stat.S_ISDIR(mode) else 0o600)
    }
    assert open_ones == {}


def test_nothing_is_written_elsewhere(aftermath: Aftermath) -> None:
    """Not in the system's temporary directory, nor in the user's home; not even for a moment."""
    elsewhere = [aftermath.root / "tmp", aftermath.root / "home"]
    assert [path for folder in elsewhere for path in folder.rglob("*")] == []
    assert [path for path in aftermath.witness.modes if not path.startswith(str(aftermath.federation.root))] == []
