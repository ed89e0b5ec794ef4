"""Who tries all phone numbers: a member within and around its quota, the coordinator, fewer holders than needed."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import combinations
from pathlib import Path

import grpc
import pytest

from coordinator_at_test import MovableClock
from evaluation_federation import EPOCH, SECRET, DealtKey, EvaluationNode, persons, with_whole_key
from fixed_randomness import fixed_randomness
from hostile_asker import HOLDERS, Siege, besieged, guesses
from jointrisk.clock import Clock, utc_now
from jointrisk.errors import ConflictError, JointriskError, QuotaError, UnauthenticatedError
from jointrisk.evaluation import EvaluationRequest, Purpose
from jointrisk.identifiers import Identifier
from jointrisk.listing.derive import derive
from jointrisk.listing.log import EntryKind
from jointrisk.listing.packed import Offered
from jointrisk.listing.record import new_entry_id, seal
from jointrisk.oprf import group
from jointrisk.oprf.group import Scalar
from jointrisk.oprf.holder import evaluate_unproven
from jointrisk.oprf.requester import blind
from jointrisk.oprf.sharing import lagrange
from jointrisk.rpc.v1 import evaluation_pb2 as pb
from jointrisk_node.asking.outcome import Consent
from jointrisk_node.evaluations.charges import ChargeBook
from jointrisk_node.evaluations.quota import Account, Allowance
from jointrisk_node.evaluations.reconciling import Reconciliation
from jointrisk_node.evaluations.settings import HolderSettings, QuotaSettings
from listing_coordinator import ListingCoordinator
from listing_sample import label_of

CONSENT = Consent("none-at-all")
DAY = timedelta(days=1)
CEILING = 24
TIGHT = HolderSettings(
    quota=QuotaSettings(admission=10, portfolio=12, investigation=8, publishing=14, epoch_ceiling=CEILING)
)


async def test_a_member_gets_what_its_quota_says_and_no_more(tmp_path: Path) -> None:
    """Every purpose, every quorum, restarted holders, a second day: n/t times the ceiling of one holder is the end."""
    clock = MovableClock(utc_now())
    async with holders(tmp_path, clock) as siege:
        opened = await opened_by(siege, "dog")
        for name in HOLDERS:
            await siege.stop(name)
            await siege.hold(name, holder=TIGHT)
        clock.now += timedelta(hours=20)  # the roster is valid for a day
        opened += await opened_by(siege, "dog")
        accounts = [account_at(siege.nodes[name], "dog").counted for name in HOLDERS]
    assert max(accounts) <= CEILING
    # Each output takes two of three holders: 3/2 of what one grants. What two quorums end at differs by a batch.
    assert CEILING < opened <= CEILING * 3 // 2


async def test_a_member_that_holds_a_share_reaches_twice_as_much(tmp_path: Path) -> None:
    """Its own share costs nothing, so each of the two others is asked for all that it grants: (n-1)/(t-1) = 2 times."""
    async with holders(tmp_path, utc_now, *HOLDERS[1:]) as siege:
        assert await opened_by(siege, "ant") == CEILING * 2


async def test_calling_it_publishing_spends_the_ceiling(tmp_path: Path) -> None:
    """Nothing is listed under what was guessed: the guesses are questions, whatever the requests say."""
    settings = HolderSettings(quota=QuotaSettings(publishing=1000, epoch_ceiling=CEILING))
    async with holders(tmp_path, utc_now, "bee", settings=settings) as siege:
        await siege.ask("bee", siege.request("dog", ("ant", "bee"), guesses(CEILING), purpose=Purpose.PUBLISHING))
        with pytest.raises(QuotaError, match="this epoch"):
            await siege.ask("bee", siege.request("dog", ("ant", "bee"), guesses(1), purpose=Purpose.PUBLISHING))
        with pytest.raises(QuotaError, match="this epoch"):
            await siege.ask("bee", siege.request("dog", ("ant", "bee"), guesses(1)))


async def test_who_lists_whatever_it_guesses_is_bound_by_the_bucket(tmp_path: Path) -> None:
    """A false entry under each guess, withdrawn before anybody reads it, frees the ceiling: the bucket holds.

    The coordinator's audit log says how much was appended and taken back; readers see nothing of it.
    """
    clock, number = MovableClock(utc_now()), 20
    settings = HolderSettings(quota=QuotaSettings(publishing=number, epoch_ceiling=number))
    coordinator = ListingCoordinator(tmp_path / "coordinator", clock=clock)
    async with holders(tmp_path / "members", clock, "bee", settings=settings) as siege:
        ask = ("ant", "bee"), guesses(number)
        await siege.ask("bee", siege.request("dog", *ask, purpose=Purpose.PUBLISHING))
        offered = [offer_about(n) for n in range(number)]
        assert coordinator.append("dog", *offered, *offered) == []  # twice: tags count, not entries
        assert coordinator.mark("dog", EntryKind.TOMBSTONE, *offered) == []
        await reconciled(siege.nodes["bee"], coordinator)
        assert account_at(siege.nodes["bee"], "dog").counted == 0
        with pytest.raises(QuotaError, match="for publishing now"):
            await siege.ask("bee", siege.request("dog", ("ant", "bee"), guesses(1), purpose=Purpose.PUBLISHING))
    coordinator.log.release()
    assert coordinator.records() == []
    told = [(event, fields["taken"]) for event, fields in coordinator.events() if fields.get("member") == "dog"]
    assert told == [("listing.appended", number), ("listing.tombstone", number)]


async def test_one_tag_is_credited_once(tmp_path: Path) -> None:
    """Eight entries under one tag, or the same entry again and again, pay for one evaluation."""
    coordinator = ListingCoordinator(tmp_path / "coordinator")
    async with holders(tmp_path / "members", utc_now, "bee", settings=TIGHT) as siege:
        await siege.ask("bee", siege.request("dog", ("ant", "bee"), guesses(10), purpose=Purpose.PUBLISHING))
        for entry in range(8):
            assert coordinator.append("dog", offer_about(0, entry)) == []
        await reconciled(siege.nodes["bee"], coordinator)
        assert account_at(siege.nodes["bee"], "dog").counted == 9


async def test_a_coordinator_that_counts_too_many_tags_frees_no_question(tmp_path: Path) -> None:
    """Questions for other purposes stay counted, and the bucket for publishing stays as full as it was."""
    async with holders(tmp_path, utc_now, "bee", settings=TIGHT) as siege:
        await siege.ask("bee", siege.request("dog", ("ant", "bee"), guesses(10)))
        await siege.ask("bee", siege.request("dog", ("ant", "bee"), guesses(12), purpose=Purpose.PORTFOLIO))
        await siege.ask("bee", siege.request("dog", ("ant", "bee"), guesses(2), purpose=Purpose.PUBLISHING))

        async def lie(_: int) -> dict[str, int]:
            await asyncio.sleep(0)
            return {"dog": 2**63, "ant": 2**63, "nobody": 5}

        await Reconciliation(book_of(siege.nodes["bee"]), lie).step()
        assert account_at(siege.nodes["bee"], "dog").counted == 22
        await siege.ask("bee", siege.request("dog", ("ant", "bee"), guesses(12), purpose=Purpose.PUBLISHING))
        for purpose, number in ((Purpose.PUBLISHING, 1), (Purpose.INVESTIGATION, 3)):
            with pytest.raises(QuotaError):
                await siege.ask("bee", siege.request("dog", ("ant", "bee"), guesses(number), purpose=purpose))


async def test_a_request_id_buys_one_batch(tmp_path: Path) -> None:
    """Used again it buys nothing: with other elements, purpose, quorum or consent, also after a restart."""
    async with holders(tmp_path, utc_now, "bee", settings=TIGHT) as siege:
        batch = guesses(2)
        paid = siege.request("dog", ("ant", "bee"), batch)
        first = await siege.ask("bee", paid)
        id_ = paid.request_id
        for attempt in range(2):
            for other in (
                siege.request("dog", ("ant", "bee"), guesses(2, 2), request_id=id_),
                siege.request("dog", ("ant", "bee"), batch, request_id=id_, purpose=Purpose.PORTFOLIO),
                siege.request("dog", ("bee", "cat"), batch, request_id=id_),
                siege.request("dog", ("ant", "bee"), batch, request_id=id_, consent=b"\1" * 32),
            ):
                with pytest.raises(ConflictError, match="new request id"):
                    await siege.ask("bee", other)
            again = await siege.ask("bee", paid)
            assert again.elements == first.elements
            assert account_at(siege.nodes["bee"], "dog").counted == 2
            if not attempt:
                await siege.stop("bee")
                await siege.hold("bee", holder=TIGHT)


async def test_what_is_free_for_another_quorum_is_free_once(tmp_path: Path) -> None:
    """And gives no other output: the same elements, the same share. The third time they are charged."""
    async with holders(tmp_path, utc_now, "bee", settings=TIGHT) as siege:
        batch, charged = guesses(3), []
        for quorum in (("ant", "bee"), ("bee", "cat"), ("bee", "cat"), ("ant", "bee")):
            await siege.ask("bee", siege.request("dog", quorum, batch))
            charged.append(account_at(siege.nodes["bee"], "dog").counted)
        assert charged == [3, 3, 6, 6]


async def test_requests_at_the_same_moment_get_no_more(tmp_path: Path) -> None:
    """Twenty requests under one id: one batch. Forty requests for the last ten evaluations: ten."""
    async with holders(tmp_path, utc_now, "bee", settings=TIGHT) as siege:
        id_ = bytes(16)
        same = [siege.request("dog", ("ant", "bee"), guesses(1, n), request_id=id_) for n in range(20)]
        assert await answered(siege, same) == 1
        other = [siege.request("dog", ("ant", "bee"), guesses(1, n)) for n in range(30)]
        assert await answered(siege, other) == 9
        assert account_at(siege.nodes["bee"], "dog").counted == 10


async def test_the_coordinator_asks_in_nobodys_name(tmp_path: Path) -> None:
    """It can make a certificate in any member's name, and its own; it has nobody's identity key."""
    async with holders(tmp_path, utc_now, "bee", settings=TIGHT) as siege:
        for name in ("dog", "ant", "bee"):
            with pytest.raises(UnauthenticatedError, match="not signed"):
                await siege.ask("bee", siege.request(name, ("ant", "bee"), guesses(1)), signer="coordinator key")
        for name in ("coordinator", "sybil"):
            with pytest.raises(UnauthenticatedError, match="no member"):
                await siege.ask("bee", siege.request(name, ("ant", "bee"), guesses(1)), signer="coordinator key")
        assert siege.nodes["bee"].records("evaluation.answered") == []


async def test_a_made_up_certificate_tells_how_much_its_member_has_left_and_no_more(tmp_path: Path) -> None:
    """That is a leak to the coordinator, and stated as one: numbers of questions, by member and holder."""
    async with holders(tmp_path, utc_now, "bee", settings=TIGHT) as siege:
        await siege.ask("bee", siege.request("dog", ("ant", "bee"), guesses(3)))
        async with siege.line("bee", "dog") as stub:  # any certificate of the CA in this name
            quota = await stub.GetQuota(pb.GetQuotaRequest(epoch=EPOCH))
        assert quota.epoch_left == CEILING - 3
        async with siege.line("bee", "sybil") as stub:
            with pytest.raises(grpc.RpcError):
                await stub.GetQuota(pb.GetQuotaRequest(epoch=EPOCH))


async def test_the_coordinator_brings_no_asker_of_its_own(tmp_path: Path) -> None:
    """A roster with a member that nobody has approved is not believed, so that one is not answered."""
    async with holders(tmp_path, utc_now, "bee", settings=TIGHT) as siege:
        siege.federation.forge.admit("sybil", by=(), endorsements=())
        with pytest.raises(JointriskError, match="approv"):
            siege.nodes["bee"].membership.apply_roster(siege.federation.signed())
        with pytest.raises(UnauthenticatedError, match="sybil is no member"):
            await siege.ask("bee", siege.request("sybil", ("ant", "bee"), guesses(1)))


@pytest.mark.parametrize(("threshold", "holders_of_shares"), [(2, 3), (3, 5)])
def test_fewer_holders_than_the_threshold_find_nobody(threshold: int, holders_of_shares: int) -> None:
    """They know every listed identifier and all tags, and combine what shares they have; one more finds everybody."""
    dealt = DealtKey(1, threshold, tuple(f"holder-{n}" for n in range(holders_of_shares)))
    listed = persons(5)
    tags = {keys.tag for keys in with_whole_key(listed)}
    batch = blind([one.oprf_input(EPOCH) for one in listed], fixed_randomness("blinds"))

    def found(shares: dict[int, Scalar]) -> int:
        """Return how many are found with the key that these shares make."""
        weights = lagrange(list(shares))
        key = group.scalar_multiply(weights[min(shares)], shares[min(shares)])
        for index in sorted(shares)[1:]:
            key = group.scalar_add(key, group.scalar_multiply(weights[index], shares[index]))
        outputs = batch.finalize(evaluate_unproven(key, batch.elements))
        return sum(derive(output, EPOCH).tag in tags for output in outputs)

    numbered = dict(enumerate(dealt.shares.values(), start=1))
    for few in range(1, threshold):
        for chosen in combinations(numbered, few):
            assert found({index: numbered[index] for index in chosen}) == 0
    for chosen in combinations(numbered, threshold):
        assert found({index: numbered[index] for index in chosen}) == len(listed)


def test_what_the_quotas_come_to_in_a_year() -> None:
    """The figures of docs/threat-model.md: one member, the default quota, three holders of which two are needed."""
    granted = Allowance.of(QuotaSettings())
    publishing = granted.capacities[Purpose.PUBLISHING]
    in_a_year = publishing * (1 + 365 / 30)
    assert granted.epoch_ceiling == 1_200_000
    assert publishing == 216_666
    assert round(in_a_year, -4) == 2_850_000
    most = granted.epoch_ceiling + in_a_year
    of_phones, of_a_holder = most * 3 / 2 / 1e9, most * 2 / 1e9
    assert (round(100 * of_phones, 2), round(100 * of_a_holder, 2)) == (0.61, 0.81)
    assert round(100 * granted.epoch_ceiling * 3 / 2 / 1e9, 2) == 0.18


# -- what they use -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def holders(root: Path, clock: Clock, *names: str, settings: HolderSettings = TIGHT) -> AsyncIterator[Siege]:
    """Let holders answer, all three unless named, each granting the same."""
    async with besieged(root, clock) as siege:
        for name in names or HOLDERS:
            await siege.hold(name, holder=settings)
        yield siege


async def opened_by(siege: Siege, name: str) -> int:
    """Let a member's own asker guess on, for every purpose, until it is refused; return how many it opened."""
    node = siege.node(name) if name not in siege.nodes else siege.nodes[name]
    guessed = persons(CEILING * 4)
    opened = 0
    for purpose in Purpose:
        for size in (2, 1):
            opened += await opened_for(node, purpose, guessed[opened:], size)
    return opened


async def opened_for(node: EvaluationNode, purpose: Purpose, guessed: list[Identifier], size: int) -> int:
    """Guess for one purpose."""
    opened, refused = 0, 0
    while refused < 3:
        asked = guessed[opened : opened + size]
        try:
            evaluated = await node.asker.evaluate(asked, purpose, CONSENT, epoch=EPOCH)
        except QuotaError:
            refused += 1
            continue
        assert evaluated.keys == with_whole_key(asked)
        opened += size
    return opened


async def answered(siege: Siege, requests: Sequence[EvaluationRequest]) -> int:
    """Send requests to one holder all at once; return how many are answered."""
    done = await asyncio.gather(*(siege.ask("bee", one) for one in requests), return_exceptions=True)
    assert all(isinstance(one, pb.EvaluateResponse | JointriskError) for one in done), done
    return sum(isinstance(one, pb.EvaluateResponse) for one in done)


def book_of(node: EvaluationNode) -> ChargeBook:
    """Return a holder's accounts."""
    return ChargeBook(node.journal, lambda name: Allowance.of(node.holder.granted(name)))


def account_at(node: EvaluationNode, name: str) -> Account:
    """Return what a member has used at a holder."""
    return book_of(node).account(name, EPOCH)


async def reconciled(node: EvaluationNode, coordinator: ListingCoordinator) -> None:
    """Let a holder ask the coordinator for the numbers of tags."""

    async def count_tags(epoch: int) -> Mapping[str, int]:
        return await asyncio.to_thread(coordinator.log.count_tags, node.name, epoch)

    await Reconciliation(book_of(node), count_tags).step()


def offer_about(guess: int, entry: int = 0) -> Offered:
    """Return an entry under what was guessed, which its lister has had evaluated."""
    batch = guesses(1, guess)
    keys = derive(batch.finalize(evaluate_unproven(SECRET, batch.elements))[0], EPOCH)
    return Offered(seal(label_of(), keys, new_entry_id(fixed_randomness(f"{guess}/{entry}"))), keys.witness)
