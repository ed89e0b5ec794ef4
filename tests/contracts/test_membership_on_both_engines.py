"""The coordinator's membership on SQLite and on PostgreSQL, with the schema that the migrations make."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator_at_test import Candidate, CoordinatorAtTest, identity_in
from jointrisk.errors import RefusedError, UnauthenticatedError
from jointrisk.federation.certificates import certificate_request, new_transport_key
from jointrisk.store import Store, open_store
from jointrisk_coordinator.store import MIGRATIONS


@pytest.fixture
def coordinator_store(database_url: str) -> Iterator[Store]:
    """The coordinator's own tables."""
    opened = open_store(database_url, MIGRATIONS)
    yield opened
    opened.close()


def test_a_federations_life(tmp_path: Path, coordinator_store: Store) -> None:
    """Founding, bad tokens, an admission, a renewal, a removal and a restart come out the same."""
    desk = CoordinatorAtTest(tmp_path / "c", store=coordinator_store).found("ant", "bee", "cat")
    with pytest.raises(UnauthenticatedError):
        desk.office.join(Candidate("dog").join_request(desk.token("dog"), secret=bytes(32)))
    candidate, token = Candidate("dog"), desk.token("dog")
    assert desk.office.join(candidate.join_request(token)).certificate is None
    for name in ("ant", "bee"):
        desk.office.approve(desk.approval("dog", name), desk.members[name])
    joined = desk.office.join(candidate.join_request(token))
    assert joined.certificate is not None
    with pytest.raises(RefusedError, match="used before"):
        desk.office.join(Candidate("eel").join_request(token))
    renewed = identity_in(desk.office.renew(certificate_request(new_transport_key()), desk.members["cat"]))
    desk.office.remove("bee", "left")
    again = CoordinatorAtTest(tmp_path / "c", clock=desk.clock, store=coordinator_store)
    assert [view.member_id for view in again.office.list_members()] == ["ant", "cat", "dog", "bee"]
    assert again.office.is_current(renewed)
    assert again.office.is_current(identity_in(joined.certificate))
    assert not again.office.is_current(desk.members["bee"])
    assert again.office.current_roster() == desk.office.current_roster()
    again.audit.verify().require_sound()
