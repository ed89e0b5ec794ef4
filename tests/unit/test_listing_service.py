"""The logs of listings over gRPC: a node's own calls, watches, the operator's commands, the loop behind them."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from ceremony_federation import FOUNDERS, CeremonyFederation
from command_in_process import jointrisk
from jointrisk.errors import JointriskError, NotFoundError, RefusedError, UnavailableError
from jointrisk.listing.log import SEGMENT, Entry, EntryKind, Point, extend
from jointrisk.listing.packed import pack_ids, packed_appends
from jointrisk.rpc.guard import Guard
from jointrisk.rpc.server import bind_unix, check_protocol, new_server
from jointrisk.rpc.v1 import listing_pb2 as pb
from jointrisk.rpc.v1.listing_operator_pb2_grpc import add_ListingOperatorServicer_to_server
from jointrisk.serving import prepare_socket
from jointrisk_coordinator.listings.epochs import BoardEpochs
from jointrisk_coordinator.listings.operator_service import ListingOperatorService
from jointrisk_coordinator.listings.service import MOST_WATCHES
from jointrisk_coordinator.listings.settings import ListingSettings
from listing_coordinator import FEDERATION, ListingCoordinator, offer, random_offers, read_log


@pytest.fixture
def coordinator(tmp_path: Path) -> ListingCoordinator:
    """A coordinator that releases at once."""
    return ListingCoordinator(tmp_path / "coordinator")


async def test_a_listing_goes_from_one_member_to_another(coordinator: ListingCoordinator) -> None:
    """Appended, watched, read, held, withdrawn, over a real socket with the node's own channel."""
    entry = offer("Li", "1")
    ids = pack_ids([entry.sealed.entry_id])
    async with coordinator.running(), coordinator.channel("ant") as ant, coordinator.channel("bee") as bee:
        heads = bee.watch_listing_heads()
        assert len((await anext(heads)).heads) == 1
        assert not (await ant.append_listings(pb.AppendRequest(epoch=1, entries=packed_appends([entry])))).refused
        async with asyncio.timeout(10):
            await anext(heads)
        read, head = await read_log(bee)
        assert [record for _, record in read] == [coordinator.records()[0].to_bytes()]
        assert head.size == 1
        (state,) = (await ant.listing_states(pb.GetEntriesRequest(epoch=1, entry_ids=ids))).entries
        assert (state.state, state.position, state.expires_at) == ("live", 0, "2027-03-01T12:00:00Z")
        assert not (await ant.mark_listings(pb.MarkRequest(epoch=1, kind=pb.HOLD, entry_ids=ids))).refused
        async with asyncio.timeout(10):
            await anext(heads)
        assert not (await ant.renew_listings(pb.RenewEntriesRequest(epoch=1, entry_ids=ids))).refused
        await ant.mark_listings(pb.MarkRequest(epoch=1, kind=pb.TOMBSTONE, entry_ids=ids))
        async with asyncio.timeout(10):
            await anext(heads)
        read, head = await read_log(bee, without_records=True)
        assert [entry.kind for entry, _ in read] == [EntryKind.APPEND, EntryKind.HOLD, EntryKind.TOMBSTONE]
        (state,) = (await ant.listing_states(pb.GetEntriesRequest(epoch=1, entry_ids=ids))).entries
        assert (state.state, state.HasField("position"), state.expires_at) == ("withdrawn", True, "")
        assert dict((await bee.count_tags(pb.CountTagsRequest(epoch=1))).tags) == {"ant": 1}


async def test_refusals_cross_the_wire(coordinator: ListingCoordinator) -> None:
    """Of items with their places and codes, of calls as the errors that they are."""
    entry, squatting = offer("Li", "1"), random_offers(1)[0]
    batch = packed_appends([entry]) + squatting.sealed.entry_id + entry.sealed.tag + squatting.witness + bytes(48)
    async with coordinator.running(), coordinator.channel("ant") as ant, coordinator.channel("dog") as dog:
        (refused,) = (await ant.append_listings(pb.AppendRequest(epoch=1, entries=batch))).refused
        assert (refused.index, refused.code) == (1, "refused")
        ids = pack_ids([entry.sealed.entry_id])
        (refused,) = (await dog.mark_listings(pb.MarkRequest(epoch=1, kind=pb.HOLD, entry_ids=ids))).refused
        assert (refused.index, refused.code) == (0, "not_found")
        with pytest.raises(NotFoundError, match="epoch 7"):
            await ant.append_listings(pb.AppendRequest(epoch=7, entries=batch))
        with pytest.raises(NotFoundError, match="epoch 7"):
            await read_log(ant, 7)
        with pytest.raises(RefusedError, match="holders"):
            await dog.count_tags(pb.CountTagsRequest(epoch=1))
        for kind in (pb.MARK_KIND_UNSPECIFIED, 1, 5, 6):
            with pytest.raises(JointriskError, match="expected a tombstone"):
                await ant.mark_listings(pb.MarkRequest(epoch=1, kind=kind, entry_ids=ids))  # type: ignore[arg-type]


async def test_a_long_log_comes_in_pieces_that_can_be_gone_on_from(coordinator: ListingCoordinator) -> None:
    """About 256 KiB each; after a cut the rest leads from where the reader is to the head."""
    coordinator.append("ant", *random_offers(4 * SEGMENT - 7))
    coordinator.append("ant", *random_offers(SEGMENT, "more"))
    coordinator.log.release()
    async with coordinator.running(), coordinator.channel("bee") as bee:
        whole = [part async for part in bee.read_listings(pb.ReadLogRequest(epoch=1))]
        assert [len(part.entries) for part in whole] == [3 * SEGMENT * 90, (2 * SEGMENT - 7) * 90]
        assert [part.HasField("head") for part in whole] == [False, True]
        entries, head = await read_log(bee)
        got = extend(Point.start(FEDERATION, 1), (entry for entry, _ in entries[:1500]))
        rest, again = await read_log(bee, start=got)
        assert (rest, again) == (entries[1500:], head)
        assert isinstance(rest[0][0], Entry)


async def test_a_removed_member_hears_no_more(coordinator: ListingCoordinator) -> None:
    """Its open watch ends with the next head, and a long read with the next piece."""
    coordinator.append("ant", *random_offers(4 * SEGMENT))
    coordinator.log.release()
    async with coordinator.running(), coordinator.channel("bee") as bee:
        heads = bee.watch_listing_heads()
        await anext(heads)
        coordinator.removed.add("bee")
        coordinator.append("ant", offer("Li", "1"))
        with pytest.raises(RefusedError, match="removed"):
            async with asyncio.timeout(10):
                await anext(heads)
    async with coordinator.running():
        calls = coordinator.calls("ant")
        reading = calls.read_listings(pb.ReadLogRequest(epoch=1))
        await anext(reading)
        coordinator.removed.add("ant")
        with pytest.raises(RefusedError, match="removed"):
            await anext(reading)


async def test_one_member_watches_so_often_and_no_more(coordinator: ListingCoordinator) -> None:
    """A watch that has ended makes room again; another member is not concerned."""
    async with coordinator.running():
        servicer = coordinator.servicer("ant")
        streams = [servicer.WatchHeads(pb.WatchHeadsRequest(), None) for _ in range(MOST_WATCHES + 1)]  # type: ignore[arg-type]
        for stream in streams[:-1]:
            await anext(stream)
        with pytest.raises(RefusedError, match="8 times"):
            await anext(streams[-1])
        await streams[0].aclose()  # type: ignore[attr-defined]
        await anext(servicer.WatchHeads(pb.WatchHeadsRequest(), None))  # type: ignore[arg-type]


async def test_a_coordinator_that_stops_ends_its_watches(coordinator: ListingCoordinator) -> None:
    """Stopping the server would wait for them otherwise."""
    async with coordinator.running():
        heads = coordinator.calls("bee").watch_listing_heads()
        await anext(heads)
        waiting: asyncio.Future[pb.Heads] = asyncio.ensure_future(anext(heads))
        await asyncio.sleep(0)
    with pytest.raises(UnavailableError, match="stopping"):
        async with asyncio.timeout(10):
            await waiting


async def test_nothing_that_fails_ends_the_releases(coordinator: ListingCoordinator) -> None:
    """A database that is away for a while, or a defect of our own: what waits is released afterwards."""
    calls = 0
    keep = coordinator.log.keep

    def fail_at_first() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise UnavailableError("the database cannot be used now")
        if calls == 2:
            raise RuntimeError("a defect")
        keep()

    coordinator.log.keep = fail_at_first  # type: ignore[method-assign]
    coordinator.append("ant", offer("Li", "1"))
    async with coordinator.running(), asyncio.timeout(10):
        heads = coordinator.calls("bee").watch_listing_heads()
        await anext(heads)
        await anext(heads)
    assert (calls > 2, len(coordinator.records())) == (True, 1)


async def test_the_operator_sees_and_releases(tmp_path: Path) -> None:
    """Status, release before the window is over, and the entries of a former member, by the command line."""
    coordinator = ListingCoordinator(tmp_path / "coordinator", ListingSettings(window=timedelta(hours=1)))
    coordinator.append("ant", offer("Li", "1"), offer("Li", "2"))
    coordinator.append("bee", offer("Li", "3"))
    coordinator.mark("bee", EntryKind.HOLD, offer("Li", "3"))
    server = new_server(Guard([check_protocol]))
    members = {"ant", "bee"}
    add_ListingOperatorServicer_to_server(ListingOperatorService(coordinator.log, lambda: members), server)
    bind_unix(server, prepare_socket(coordinator.root))
    await server.start()

    async def command(*words: str) -> tuple[int, list[str], str]:
        home = ("coordinator", "--home", str(coordinator.root), "listings")
        ended = await asyncio.to_thread(jointrisk, *home, *words)
        return ended.code, ended.out.split(), ended.err

    try:
        waiting = ["1", "0", "0", "0", "3", "1", "2", "2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"]
        assert (await command("status"))[1][-9:] == waiting
        assert (await command("release"))[1][-9:] == ["1", "4", "3", "1", "0", "0", "2", *waiting[-2:]]
        code, _, error = await command("remove-member", "bee")
        assert (code, "bee is a member" in error) == (4, True)
        members.remove("bee")
        assert (await command("remove-member", "bee"))[1][:4] == ["1", "entries", "of", "bee"]
        assert '"entries":' in "".join((await command("remove-member", "bee", "--json"))[1])
        assert len(coordinator.records()) == 3
        assert (await command("release"))[1][-9:] == ["1", "5", "2", "0", "0", "0", "1", *waiting[-2:]]
    finally:
        await server.stop(0)


async def test_the_board_says_which_epochs_have_a_key(tmp_path: Path) -> None:
    """None at first; holders of every generation of an epoch, and those of the next one by themselves."""
    federation = CeremonyFederation(tmp_path, *FOUNDERS)
    epochs = BoardEpochs(federation.board)
    assert epochs() == {}
    await federation.make("start", "ant", "bee", threshold=2)
    first = next(iter(epochs()))
    assert epochs() == {first: {"ant", "bee"}}
    federation.propose("rotate", "bee", "cat", threshold=2)
    assert epochs() == {first: {"ant", "bee"}}
    await federation.settle()
    assert set(epochs().values()) == {frozenset({"ant", "bee"}), frozenset({"bee", "cat"})}
