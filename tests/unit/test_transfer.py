"""Messages in chunks: resumable, bound to their header, never larger than announced."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jointrisk import transfer
from jointrisk.errors import ConflictError, CorruptError, InvalidInputError, TooLargeError
from jointrisk.transfer import Header, Incoming, Outgoing

ID = "a" * 64


def header(content: bytes) -> Header:
    """Return the header of ``content``."""
    return Header(ID, len(content), hashlib.sha256(content).digest())


@given(content=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5), chunk=st.integers(1, 64))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_message_arrives_whatever_the_chunks_and_however_often_it_breaks_off(
    tmp_path: Path, content: bytes, cuts: list[int], chunk: int
) -> None:
    """Sender and receiver go on from what the receiver has, after any number of interruptions."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content)
    for stop in [*sorted(cuts), len(content) + 1]:
        incoming = Incoming(tmp_path, header(content))
        outgoing = Outgoing(header(content), source, incoming.received, chunk)
        while not outgoing.finished and incoming.received < stop:
            incoming.write(*outgoing.next_chunk())
        outgoing.close()
        incoming.close()
    final = Incoming(tmp_path, header(content))
    final.finish(target)
    assert target.read_bytes() == content
    assert list(tmp_path.glob("*.part")) == []


def test_gap_and_overlap_are_refused(tmp_path: Path) -> None:
    """A chunk has to start where the last one ended."""
    incoming = Incoming(tmp_path, header(b"0123456789"))
    incoming.write(0, b"0123")
    with pytest.raises(InvalidInputError, match="expected offset 4, got 5"):
        incoming.write(5, b"5")
    with pytest.raises(InvalidInputError, match="expected offset 4, got 3"):
        incoming.write(3, b"3")
    incoming.close()


def test_more_bytes_than_announced_are_refused(tmp_path: Path) -> None:
    """A sender cannot fill the disk beyond what it announced."""
    incoming = Incoming(tmp_path, header(b"0123"))
    with pytest.raises(TooLargeError):
        incoming.write(0, b"01234")
    incoming.close()


def test_other_content_under_a_begun_id_is_refused(tmp_path: Path) -> None:
    """An id is bound to size and digest, across streams and restarts."""
    Incoming(tmp_path, header(b"first")).close()
    with pytest.raises(ConflictError):
        Incoming(tmp_path, header(b"other"))


def test_content_that_is_not_what_was_announced_is_gone(tmp_path: Path) -> None:
    """A wrong digest deletes what came, so that the next try begins afresh."""
    incoming = Incoming(tmp_path, Header(ID, 4, b"\0" * 32))
    incoming.write(0, b"0123")
    with pytest.raises(CorruptError):
        incoming.finish(tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


def test_part_that_is_longer_than_announced_begins_afresh(tmp_path: Path) -> None:
    """A part file that a crash left with rubbish at its end is not trusted."""
    first = Incoming(tmp_path, header(b"0123"))
    first.close()
    first.part.write_bytes(b"012345678")
    again = Incoming(tmp_path, header(b"0123"))
    assert again.received == 0
    again.write(0, b"0123")
    again.finish(tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"0123"


@pytest.mark.parametrize("identity", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 65, "a" * 63 + "\n"])
def test_only_hex_ids_become_file_names(identity: str) -> None:
    """An id from the wire never leads out of its folder."""
    with pytest.raises(InvalidInputError):
        Header.checked(identity, 1, b"\0" * 32, 10)


@pytest.mark.parametrize("run_id", ["", "..", "a/b", "A", "-a", "a" * 65])
def test_only_plain_run_ids_become_folders(run_id: str) -> None:
    """A run id from the wire never leads out of its folder."""
    with pytest.raises(InvalidInputError):
        transfer.check_run_id(run_id)


def test_size_over_the_limit_is_refused_before_a_byte_is_taken() -> None:
    """The announcement alone decides."""
    with pytest.raises(TooLargeError, match="expected at most 10 bytes, got 11"):
        Header.checked(ID, 11, b"\0" * 32, 10)


def test_message_id_changes_with_every_part_of_what_is_asked() -> None:
    """The same question has the same id, any other question another."""
    parts = ("run", 1, 1, "train", "alder", 0)
    others = [("run2", *parts[1:]), ("run", 2, *parts[2:]), ("run", 1, 2, *parts[3:])]
    others += [(*parts[:3], "evaluate", "alder", 0), (*parts[:4], "birch", 0), (*parts[:5], 1)]
    ids = {transfer.message_id(*case) for case in [parts, *others]}
    assert len(ids) == 7
    assert transfer.message_id("run", 1, 1, "train", "alder") in ids


def test_message_that_is_finished_while_a_folder_is_read_is_left_out(tmp_path: Path) -> None:
    """Another stream of the same run may move its part away between the listing and the look at its size."""
    incoming = Incoming(tmp_path, header(b"0123"))
    incoming.write(0, b"01")
    incoming.close()
    (tmp_path / f"{'b' * 64}-{'c' * 64}.part").symlink_to(tmp_path / "moved away")
    assert transfer.partials(tmp_path) == [(ID, 2)]
