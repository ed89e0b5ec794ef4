"""What to look for when nothing may have leaked: a value in every form in which a program could have written it."""

import base64
import hashlib
import json
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

_SHORTEST_BASE64 = 6
"""Characters; shorter ones are in random bytes too often."""


@dataclass(frozen=True)
class Needle:
    """One form of one value.

    Attributes:
        what: names value and form in a failure.
        form: the bytes to look for.
    """

    what: str
    form: bytes


def byte_needles(what: str, raw: bytes) -> Iterator[Needle]:
    """Yield bytes as they are, in hex, in base64 at every alignment, and escaped as Python and protobuf do."""
    yield Needle(what, raw)
    yield Needle(f"{what}, hex", raw.hex().encode())
    yield Needle(f"{what}, hex", raw.hex().upper().encode())
    yield Needle(f"{what}, escaped", repr(raw)[2:-1].encode())
    yield Needle(f"{what}, octal", "".join(f"\\{byte:03o}" for byte in raw).encode())
    for shift in range(3):
        # Only the characters that do not hold bits of what stands before or behind it.
        whole = base64.b64encode(b"\0" * shift + raw)
        form = whole[-(-8 * shift // 6) : (8 * (shift + len(raw))) // 6]
        if len(form) >= _SHORTEST_BASE64:
            yield Needle(f"{what}, base64", form)
            yield Needle(f"{what}, base64", form.translate(bytes.maketrans(b"+/", b"-_")))


def text_needles(what: str, text: str) -> Iterator[Needle]:
    """Yield a text in the usual encodings, as JSON and addresses write it, and its plain hashes."""
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        yield from byte_needles(f"{what}, {encoding}", text.encode(encoding))
    yield Needle(f"{what}, JSON", json.dumps(text)[1:-1].encode())
    yield Needle(f"{what}, quoted", quote(text).encode())
    for name in ("sha256", "sha1", "md5", "blake2b"):
        yield from byte_needles(f"{what}, {name}", hashlib.new(name, text.encode()).digest())


def number_needles(what: str, number: float) -> Iterator[Needle]:
    """Yield a number as people and JSON write it, and as single and double precision."""
    for text in (f"{number:.3f}", f"{number:,.1f}", f"{number:.6e}", repr(number)):
        yield Needle(f"{what}, text", text.encode())
    for kind in "fd":
        for order in "<>":
            yield from byte_needles(f"{what}, {kind}", struct.pack(order + kind, number))


def secret_needles(what: str, secret: bytes) -> Iterator[Needle]:
    """Yield the forms of a key or secret; the first and second half alone count too."""
    half = len(secret) // 2
    for part in (secret[:half], secret[half:]):
        yield from byte_needles(what, part)


def found_in(places: Mapping[str, bytes], needles: Iterable[Needle]) -> list[str]:
    """Return what was found where, each once."""
    forms = list(needles)
    return sorted(
        {f"{needle.what} in {place}" for place, content in places.items() for needle in forms if needle.form in content}
    )


def everything_under(folder: Path) -> dict[str, bytes]:
    """Return the content of every file under a folder, and its name; of a SQLite file also all rows as text."""
    places = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder.parent))
        places[f"the name {name}"] = name.encode()
        if path.is_file():
            content = path.read_bytes()
            places[name] = content
            if content.startswith(b"SQLite format 3"):
                places[f"rows of {name}"] = _rows(path)
    return places


def _rows(path: Path) -> bytes:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return "\n".join(connection.iterdump()).encode()
