"""Where a daemon's operator socket is."""

import hashlib
import os
import tempfile
from pathlib import Path

_LONGEST = 100  # sun_path holds 108 bytes on Linux, 104 on others


def operator_socket(home: Path) -> Path:
    """Return the path of the operator socket for a state directory.

    It is in the state directory, or, where that path is too long for a Unix socket, in a directory of this user's
    (0700) under the system's temporary directory.
    """
    here = home.resolve() / "operator.sock"
    if len(os.fsencode(here)) <= _LONGEST:
        return here
    name = hashlib.sha256(os.fsencode(here)).hexdigest()[:24]
    return Path(tempfile.gettempdir()) / f"jointrisk-{os.getuid()}" / f"{name}.sock"
