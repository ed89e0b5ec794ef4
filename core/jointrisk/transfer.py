"""Messages that cross a stream in chunks, land in files, and go on where a broken stream left them.

A message has an id and a header (size and SHA-256), and the id is bound to the header. What has arrived of it lies in
``ID-SHA256.part``, so that nothing else has to be remembered to go on, and content that changed under an id is seen.
Only the daemons' stream code uses this; it knows nothing of gRPC.
"""

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from jointrisk import durable
from jointrisk.errors import ConflictError, CorruptError, InvalidInputError, TooLargeError

_ID = re.compile(r"[0-9a-f]{64}")
_RUN_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_DIGEST_BYTES = 32
_BLOCK = 1 << 20


def message_id(run_id: str, number: int, attempt: int, kind: str, member_id: str, step: int = 0) -> str:
    """Return the id of a task: the same whenever the same thing is asked, 64 hex digits.

    Args:
        run_id: the run.
        number: the round, 0 before the first.
        attempt: how often the round was begun afresh after a missed quorum, from 1.
        kind: "offer", "train", "evaluate", "query".
        member_id: who is asked.
        step: counts messages of the same kind within a round.
    """
    parts = ("jointrisk/v1/message", run_id, str(number), str(attempt), kind, member_id, str(step))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def check_message_id(text: str) -> str:
    """Return ``text`` when it is a message id. Ids become file names, so nothing else may pass.

    Raises:
        InvalidInputError: it is none.
    """
    if not _ID.fullmatch(text):
        raise InvalidInputError(f"message id: expected 64 hex digits, got {len(text)} characters")
    return text


def check_run_id(text: str) -> str:
    """Return ``text`` when it can be a run id, which becomes the name of a folder.

    Raises:
        InvalidInputError: it is none.
    """
    if not _RUN_ID.fullmatch(text):
        raise InvalidInputError(f"run id: expected a-z, 0-9 and -, at most 64, got {len(text)} characters")
    return text


@dataclass(frozen=True)
class Header:
    """What an id is bound to.

    Attributes:
        message_id: 64 hex digits.
        total_bytes: size of the content.
        sha256: of the content, 32 bytes.
    """

    message_id: str
    total_bytes: int
    sha256: bytes

    @classmethod
    def checked(cls, identity: str, total_bytes: int, sha256: bytes, limit: int) -> "Header":
        """Return the header that a peer announced.

        Args:
            identity: the message id.
            total_bytes: announced size.
            sha256: announced digest.
            limit: largest content, bytes.

        Raises:
            InvalidInputError: id or digest are malformed.
            TooLargeError: the content is over the limit.
        """
        if len(sha256) != _DIGEST_BYTES:
            raise InvalidInputError(f"sha256: expected 32 bytes, got {len(sha256)}")
        if total_bytes > limit:
            raise TooLargeError(f"message: expected at most {limit} bytes, got {total_bytes}")
        return cls(check_message_id(identity), total_bytes, sha256)

    @classmethod
    def of_file(cls, identity: str, path: Path) -> "Header":
        """Return the header of a file's content."""
        return cls(identity, path.stat().st_size, digest_of(path))


def digest_of(path: Path) -> bytes:
    """Return the SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


class Incoming:
    """A message on its way in.

    Args:
        folder: where its part file lies, or will.
        header: what was announced.

    Raises:
        ConflictError: the beginning of other content under the same id lies there.
    """

    def __init__(self, folder: Path, header: Header) -> None:
        self.header = header
        self.part = folder / f"{header.message_id}-{header.sha256.hex()}.part"
        self._refuse_other(folder)
        self._hash = hashlib.sha256()
        self._file: BinaryIO = self.part.open("a+b", buffering=0)
        self.part.chmod(durable.MODE)
        self.received = self._reread()

    @property
    def complete(self) -> bool:
        """Whether all announced bytes are there."""
        return self.received == self.header.total_bytes

    def write(self, offset: int, data: bytes) -> None:
        """Add the bytes that start at ``offset``.

        Raises:
            InvalidInputError: there is a gap or an overlap.
            TooLargeError: there are more bytes than announced.
        """
        if offset != self.received:
            raise InvalidInputError(f"chunk: expected offset {self.received}, got {offset}")
        if offset + len(data) > self.header.total_bytes:
            raise TooLargeError(f"message: {self.header.total_bytes} bytes announced, more came")
        self._file.write(data)
        self._hash.update(data)
        self.received += len(data)

    def finish(self, target: Path) -> None:
        """Verify the whole and put it under its final name, for good.

        Raises:
            CorruptError: the content is not what was announced; what came of it is gone.
        """
        self.close()
        if self._hash.digest() != self.header.sha256:
            self.part.unlink(missing_ok=True)
            raise CorruptError("message: its SHA-256 is not the announced one", remedy="It is asked for again.")
        durable.move(self.part, target)

    def close(self) -> None:
        """Let go of the file; what has arrived stays."""
        self._file.close()

    def _refuse_other(self, folder: Path) -> None:
        others = set(folder.glob(f"{self.header.message_id}-*.part")) - {self.part}
        if others:
            raise ConflictError("message: other content was begun under the same id")

    def _reread(self) -> int:
        self._file.seek(0)
        while block := self._file.read(_BLOCK):
            self._hash.update(block)
        if self._file.tell() > self.header.total_bytes:
            self._file.truncate(0)
            self._hash = hashlib.sha256()
        return self._file.seek(0, 2)


class Outgoing:
    """A message on its way out, read chunk by chunk.

    Args:
        header: what it is.
        path: its content.
        offset: where to begin: what the other side has already.
        chunk_bytes: size of a chunk.
    """

    def __init__(self, header: Header, path: Path, offset: int, chunk_bytes: int) -> None:
        self.header = header
        self._chunk_bytes = chunk_bytes
        self.offset = offset if offset <= header.total_bytes else 0
        self._file = path.open("rb")
        self._file.seek(self.offset)
        self.begun = False

    @property
    def finished(self) -> bool:
        """Whether every byte has been read, the opening frame included."""
        return self.begun and self.offset >= self.header.total_bytes

    def next_chunk(self) -> tuple[int, bytes]:
        """Return the next bytes and where they start; the first call may return none for an empty content."""
        start, data = self.offset, self._file.read(self._chunk_bytes)
        self.offset += len(data)
        self.begun = True
        return start, data

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def partials(folder: Path) -> list[tuple[str, int]]:
    """Return the ids of messages of which the beginning lies in a folder, and how many bytes there are.

    A message may be finished or discarded while the folder is read: then it is left out.
    """
    found: list[tuple[str, int]] = []
    for part in folder.glob("*.part"):
        name = part.name.partition("-")[0]
        if _ID.fullmatch(name):
            with suppress(FileNotFoundError):
                found.append((name, part.stat().st_size))
    return sorted(found)


def discard(folder: Path, identity: str) -> None:
    """Delete everything of a message in a folder."""
    for path in folder.glob(f"{check_message_id(identity)}*"):
        path.unlink(missing_ok=True)
