"""Members and the coordinator over real mutual TLS: removal, foreign certificates, renewal, the roster's way."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from coordinator_at_test import CoordinatorAtTest
from coordinator_served import ServedCoordinator, served
from jointrisk.errors import JointriskError, RefusedError, UnavailableError
from jointrisk.federation.certificates import (
    KeyPair,
    certificate_request,
    certificate_to_pem,
    key_to_pem,
    member_of,
    new_transport_key,
)
from jointrisk.rpc.errors import from_rpc
from jointrisk.rpc.v1 import membership_pb2 as pb
from jointrisk.rpc.v1.membership_pb2_grpc import MembershipServiceStub
from jointrisk_coordinator.membership.ledger import MembershipRules
from node_at_test import NodeAtTest


async def joined(coordinator: ServedCoordinator, root: Path, *names: str) -> list[NodeAtTest]:
    """Let founders join."""
    nodes = [NodeAtTest(root / name) for name in names]
    for name, node in zip(names, nodes, strict=True):
        await node.join(coordinator.invitation(name))
    return nodes


async def asks(coordinator: ServedCoordinator, pair: KeyPair, *, ca: bytes | None = None) -> int:
    """Ask for the roster with any key pair; return its length."""
    async with coordinator.channel(pair, ca=ca) as opened:
        try:
            answer = await MembershipServiceStub(opened).GetRoster(pb.GetRosterRequest(), timeout=10)
        except Exception as failure:
            raise from_rpc(failure, peer="the coordinator") from failure  # type: ignore[arg-type]
    return len(answer.roster.payload)


async def test_a_removed_member_is_refused_from_then_on(tmp_path: Path) -> None:
    """On the open channel and on a new one; others go on, and hear of it at their next poll."""
    async with served(tmp_path / "c") as coordinator:
        ant, bee = await joined(coordinator, tmp_path, "ant", "bee")
        told: list[str] = []
        coordinator.office.on_removed.append(told.append)
        async with bee.link() as link:
            await link.refresh_roster()
            coordinator.office.remove("bee", "left")
            with pytest.raises(RefusedError, match="removed"):
                await link.refresh_roster()
        async with bee.link() as link:
            with pytest.raises(RefusedError, match="removed"):
                await link.candidates()
        assert told == ["bee"]
        assert len(coordinator.refused) == 2
        async with ant.link() as link:
            assert await link.refresh_roster()
        assert list(ant.membership().trusted()) == ["ant"]
        serial = member_of(bee.membership().transport().chain).serial
        assert ant.membership().roster.refused_serials == (serial,)


async def test_foreign_certificates_do_not_get_in(tmp_path: Path) -> None:
    """Another CA's, even with the same names, fails in the handshake; one that was never issued fails after it."""
    async with served(tmp_path / "c") as coordinator:
        await joined(coordinator, tmp_path, "ant")
        foreign = CoordinatorAtTest(tmp_path / "d").authority
        for authority, error in ((foreign, UnavailableError), (coordinator.authority, RefusedError)):
            key = new_transport_key()
            leaf = authority.issue("ant", key.public_key(), now=coordinator.clock(), lifetime=timedelta(days=1))
            with pytest.raises(error):
                await asks(coordinator, KeyPair(key_to_pem(key), certificate_to_pem(leaf)))


async def test_an_expired_certificate_does_not_get_in(tmp_path: Path) -> None:
    """TLS itself refuses it."""
    async with served(tmp_path / "c") as coordinator:
        await joined(coordinator, tmp_path, "ant")
        key = new_transport_key()
        past = coordinator.clock() - timedelta(days=2)
        leaf = coordinator.authority.issue("ant", key.public_key(), now=past, lifetime=timedelta(days=1))
        with pytest.raises(UnavailableError):
            await asks(coordinator, KeyPair(key_to_pem(key), certificate_to_pem(leaf)))


async def test_the_coordinators_certificate_is_no_members(tmp_path: Path) -> None:
    """It opens a channel and may ask for nothing."""
    async with served(tmp_path / "c") as coordinator:
        with pytest.raises(RefusedError):
            await asks(coordinator, coordinator.certificate())


async def test_a_node_does_not_talk_to_a_foreign_coordinator(tmp_path: Path) -> None:
    """Whoever stands at the address without a certificate of the pinned CA gets no call."""
    async with served(tmp_path / "c") as coordinator, served(tmp_path / "d") as other:
        (ant,) = await joined(coordinator, tmp_path, "ant")
        membership = ant.membership()
        with pytest.raises(UnavailableError):
            await asks(other, membership.transport(), ca=membership.ca_pem)
        assert other.refused == []


async def test_a_roster_travels_only_when_it_is_new(tmp_path: Path) -> None:
    """Nothing is sent to whoever has it; half of its time later a new version is."""
    async with served(tmp_path / "c") as coordinator:
        (ant,) = await joined(coordinator, tmp_path, "ant")
        async with ant.link() as link:
            assert not await link.refresh_roster()
            coordinator.clock.move(hours=12)
            assert await link.refresh_roster()
            assert not await link.refresh_roster()


async def test_a_node_hears_of_a_new_roster_at_once_when_told(tmp_path: Path) -> None:
    """An announcement does not wait for the next poll."""
    async with served(tmp_path / "c") as coordinator:
        (ant,) = await joined(coordinator, tmp_path, "ant")
        membership, announced, changed = ant.membership(), asyncio.Event(), asyncio.Event()
        async with ant.link(membership) as link:
            loop = asyncio.create_task(
                link.keep_current(
                    announced, every=timedelta(hours=1), renewed=_nothing, roster_changed=_setting(changed)
                )
            )
            await asyncio.sleep(0.2)
            coordinator.join("bee")
            announced.set()
            await asyncio.wait_for(changed.wait(), 10)
            loop.cancel()
        assert list(membership.trusted()) == ["ant", "bee"]


async def test_polling_outlives_an_absent_coordinator_and_a_bad_roster(tmp_path: Path) -> None:
    """What fails is tried again at the next turn; what breaks a rule changes nothing."""
    async with served(tmp_path / "c") as coordinator:
        (ant,) = await joined(coordinator, tmp_path, "ant")
        membership, changed = ant.membership(), asyncio.Event()
        async with ant.link(membership) as link:
            loop = asyncio.create_task(
                link.keep_current(
                    asyncio.Event(),
                    every=timedelta(seconds=0.1),
                    renewed=_nothing,
                    roster_changed=_setting(changed),
                )
            )
            await coordinator.stop()
            await asyncio.sleep(0.5)
            await coordinator.start()
            coordinator.join("bee")
            await asyncio.wait_for(changed.wait(), 20)
            assert not loop.done()
            loop.cancel()
        assert list(membership.trusted()) == ["ant", "bee"]


# -- renewal -----------------------------------------------------------------------------------------------------------

SHORT = MembershipRules(certificate_lifetime=timedelta(seconds=6))


async def test_certificates_of_seconds_renew_themselves(tmp_path: Path) -> None:
    """Node and coordinator outlive several lifetimes; each renewal has a fresh key, and the old one dies."""
    async with served(tmp_path / "c", SHORT) as coordinator:
        (ant,) = await joined(coordinator, tmp_path, "ant")
        membership = ant.membership()
        first, served_first = membership.transport(), coordinator.certificate()
        end, renewals = time.monotonic() + 9, 0
        while time.monotonic() < end:
            async with ant.link(membership) as link:
                renewals += await link.renew_if_due()
            await asyncio.sleep(0.3)
        assert renewals in (2, 3)
        assert membership.transport().key != first.key
        assert coordinator.certificate().key != served_first.key
        assert await asks(coordinator, membership.transport())
        with pytest.raises(UnavailableError):
            await asks(coordinator, first)


async def test_the_loop_renews_before_the_next_poll(tmp_path: Path) -> None:
    """With an hour between polls a certificate of seconds is renewed in time, and its channel's owner is told."""
    async with served(tmp_path / "c", SHORT) as coordinator:
        (ant,) = await joined(coordinator, tmp_path, "ant")
        membership, renewed = ant.membership(), asyncio.Event()
        first = membership.transport()
        async with ant.link(membership) as link:
            loop = asyncio.create_task(
                link.keep_current(
                    asyncio.Event(),
                    every=timedelta(hours=1),
                    renewed=_setting(renewed),
                    roster_changed=_nothing,
                )
            )
            await asyncio.wait_for(renewed.wait(), 6)
            loop.cancel()
        assert membership.transport() != first
        assert await asks(coordinator, membership.transport())


async def test_a_renewal_that_was_cut_off_leaves_the_old_pair_working(tmp_path: Path) -> None:
    """The coordinator has issued, the node never stored it: both the old pair and a later renewal work."""
    async with served(tmp_path / "c") as coordinator:
        (ant,) = await joined(coordinator, tmp_path, "ant")
        pair = ant.membership().transport()
        async with coordinator.channel(pair) as opened:
            request = pb.RenewRequest(certificate_request=certificate_request(new_transport_key()))
            assert (await MembershipServiceStub(opened).Renew(request, timeout=10)).certificate
        restarted = NodeAtTest(tmp_path / "ant")
        assert restarted.membership().transport() == pair
        async with restarted.link() as link:
            assert await link.candidates() == []


async def test_a_malformed_renewal_is_refused(tmp_path: Path) -> None:
    """With an error that names the field."""
    async with served(tmp_path / "c") as coordinator:
        (ant,) = await joined(coordinator, tmp_path, "ant")
        async with coordinator.channel(ant.membership().transport()) as opened:
            with pytest.raises(Exception, match="certificate request") as failure:
                await MembershipServiceStub(opened).Renew(pb.RenewRequest(certificate_request=b"x"), timeout=10)
        assert isinstance(from_rpc(failure.value, peer="x"), JointriskError)  # type: ignore[arg-type]
        assert from_rpc(failure.value, peer="x").code == "invalid_input"  # type: ignore[arg-type]


async def _nothing() -> None:
    return


def _setting(event: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def set_it() -> None:
        event.set()

    return set_it
