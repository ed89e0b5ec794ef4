"""Which training code this is: what a node's run policy compares with what the coordinator runs."""

import hashlib
from functools import cache
from pathlib import Path

from jointrisk import __version__

_FOLDER = Path(__file__).parent
_SHOWN = 16


@cache
def code_version() -> str:
    """Return "VERSION+DIGEST": the distribution's version and a digest over every module of ``jointrisk.learning``.

    What a client app computes and what the coordinator makes of it lie in this package; daemons only carry it.
    """
    digest = hashlib.sha256()
    for path in sorted(_FOLDER.rglob("*.py")):
        name, text = path.relative_to(_FOLDER).as_posix().encode(), path.read_bytes()
        digest.update(len(name).to_bytes(4, "big") + name + len(text).to_bytes(8, "big") + text)
    return f"{__version__}+{digest.hexdigest()[:_SHOWN]}"
