"""The client app's state by round."""

from pathlib import Path

from jointrisk.learning.flower import ConfigRecord, RecordDict
from jointrisk_node.training import client_state


def state(value: int) -> RecordDict:
    """Return a state that says ``value``."""
    return RecordDict({"s": ConfigRecord({"value": value})})


def value(folder: Path, number: int) -> int | None:
    """Return what the state at round ``number`` says."""
    loaded = client_state.load(folder, number)
    return int(loaded.config_records["s"]["value"]) if len(loaded) else None  # type: ignore[arg-type]


def test_state_of_the_round_or_of_the_newest_before_it(tmp_path: Path) -> None:
    """A member that missed rounds goes on from the last one it took part in."""
    assert value(tmp_path, 5) is None
    client_state.save(tmp_path, 1, 0, state(1))
    client_state.save(tmp_path, 4, 3, state(4))
    assert [value(tmp_path, number) for number in (0, 1, 3, 4, 9)] == [None, 1, 1, 4, 4]


def test_last_two_are_kept(tmp_path: Path) -> None:
    """The state before a round is there as long as the round may have to be done again."""
    for number in range(1, 6):
        client_state.save(tmp_path, number, number - 1, state(number))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["round-000004.state", "round-000005.state"]


def test_round_done_again_starts_from_the_same_state_and_replaces_its_own(tmp_path: Path) -> None:
    """A retried round does not see what its first attempt left."""
    client_state.save(tmp_path, 1, 0, state(1))
    client_state.save(tmp_path, 2, 1, state(2))
    assert value(tmp_path, 1) == 1
    client_state.save(tmp_path, 2, 1, state(22))
    assert [value(tmp_path, number) for number in (1, 2)] == [1, 22]


def test_rolled_back_rounds_are_forgotten(tmp_path: Path) -> None:
    """When the coordinator goes back, later states never come up again."""
    for number in (6, 7):
        client_state.save(tmp_path, number, number - 1, state(number))
    client_state.save(tmp_path, 7, 6, state(70))
    client_state.save(tmp_path, 5, 4, state(5))
    assert [value(tmp_path, number) for number in (5, 6, 7)] == [5, 5, 5]
