"""Judgement: who lied is proven to everybody from the messages alone, and nobody else ever is."""

from dataclasses import replace

import pytest

from ceremony_sample import SUITE, begin, exchange, generation_terms, identity
from jointrisk.errors import InvalidInputError
from jointrisk.oprf import group
from jointrisk.oprf.ceremony import Abort, Complaint, Conflict, Exhibit, MessageKind, Party, Reason, SignedMessage
from jointrisk.oprf.ceremony.bodies import Deal, Keys
from jointrisk.oprf.ceremony.dealing import proves_possession
from jointrisk.oprf.ceremony.judgement import Judge
from jointrisk.oprf.ceremony.messages import sign_message
from jointrisk.oprf.ceremony.suite import share_context

TERMS = generation_terms(2, 3)
DEALER, COMPLAINER = "bank-1", "bank-2"
AT_DEALER, AT_COMPLAINER = 0, 1


@pytest.fixture
def judge() -> Judge:
    """Somebody who saw nothing but the terms."""
    return Judge(TERMS, SUITE)


@pytest.fixture
def parties() -> dict[str, Party]:
    """Parties that have dealt to each other, and not voted."""
    parties = begin(TERMS)
    keys = [message for party in parties.values() for message in party.sent]
    for message in keys:
        for party in parties.values():
            party.receive(message)
    return parties


def _deal(parties: dict[str, Party], sender: str = DEALER) -> SignedMessage:
    return next(message for message in parties[sender].sent if message.kind is MessageKind.DEAL)


def _private_key(parties: dict[str, Party]) -> bytes:
    return parties[COMPLAINER]._secrets.recipient_keys[AT_DEALER]


def _signed(body: bytes, kind: MessageKind, sender: str) -> SignedMessage:
    return sign_message(TERMS, kind, sender, body, identity(sender).sign)


def _accuses(evidence: Conflict | Exhibit | Complaint, sender: str = COMPLAINER) -> SignedMessage:
    return _signed(Abort(Reason.EVIDENCE, evidence=evidence).encode(), MessageKind.ABORT, sender)


def _with_share(message: SignedMessage, share: bytes) -> SignedMessage:
    """Return a deal in which the complainer gets another share, properly sealed."""
    deal = Deal.decode(TERMS, message.body)
    recipient = Keys.decode(TERMS, deal.keys[AT_COMPLAINER][0]).public_keys[AT_DEALER]
    sealed = SUITE.seal(b"e" * 32, recipient, share_context(TERMS, DEALER, COMPLAINER), share)
    changed = replace(deal, sealed=(deal.sealed[0], sealed, deal.sealed[2]))
    return _signed(changed.encode(), MessageKind.DEAL, DEALER)


def test_honest_messages_convict_nobody(judge: Judge) -> None:
    """Everything in a ceremony that goes well stands."""
    for message in exchange(begin(TERMS)):
        assert judge.is_genuine(message)
        assert judge.convicted(message) is None


def test_a_true_complaint_convicts_the_dealer(judge: Judge, parties: dict[str, Party]) -> None:
    """A share that does not fit the commitments is shown with the key that opens it."""
    for share in (group.random_scalar(lambda n: b"r" * n), bytes(32), b"\xff" * 32):
        deal = _with_share(_deal(parties), share)
        assert judge.convicted(deal) is None, "from outside the deal looks right"
        assert judge.convicted(_accuses(Complaint(deal.encoded, _private_key(parties)))) == DEALER


def test_a_share_that_does_not_open_convicts_the_dealer(judge: Judge, parties: dict[str, Party]) -> None:
    """Garbage instead of a share is the dealer's fault too."""
    deal = Deal.decode(TERMS, _deal(parties).body)
    garbage = _signed(replace(deal, sealed=(bytes(80),) * 3).encode(), MessageKind.DEAL, DEALER)
    assert judge.convicted(_accuses(Complaint(garbage.encoded, _private_key(parties)))) == DEALER


def test_a_copied_share_convicts_the_dealer(judge: Judge, parties: dict[str, Party]) -> None:
    """A sealed share opens for its own dealer only: nobody passes off another dealer's share as its own."""
    deal, other = (Deal.decode(TERMS, _deal(parties, sender).body) for sender in (DEALER, "bank-3"))
    copied = _signed(replace(deal, sealed=other.sealed).encode(), MessageKind.DEAL, DEALER)
    assert judge.convicted(_accuses(Complaint(copied.encoded, _private_key(parties)))) == DEALER


def test_a_false_complaint_convicts_the_complainer(judge: Judge, parties: dict[str, Party]) -> None:
    """Whoever complains about a share that fits, or shows another key, or another message, lied."""
    deal, keys = _deal(parties), parties[DEALER].sent[0]
    bad = _with_share(deal, group.scalar_of(7))
    for complaint in (
        Complaint(deal.encoded, _private_key(parties)),
        Complaint(deal.encoded, bytes(32)),
        Complaint(bad.encoded, bytes(32)),
        Complaint(keys.encoded, _private_key(parties)),
        Complaint(deal.encoded[:-1], _private_key(parties)),
        Complaint(replace(deal, signature=bytes(64)).encoded, _private_key(parties)),
    ):
        assert judge.convicted(_accuses(complaint)) == COMPLAINER


def test_a_complaint_belongs_to_its_complainer(judge: Judge, parties: dict[str, Party]) -> None:
    """Somebody else with the revealed key convicts nobody but itself."""
    bad = _with_share(_deal(parties), group.scalar_of(7))
    assert judge.convicted(_accuses(Complaint(bad.encoded, _private_key(parties)), sender="bank-3")) == "bank-3"


def test_a_complaint_about_a_deal_that_breaks_the_rules_convicts_the_dealer(
    judge: Judge, parties: dict[str, Party]
) -> None:
    """A deal may be bad in more than one way; the complainer need not know which is judged first."""
    deal = Deal.decode(TERMS, _deal(parties).body)
    wrong = _signed(replace(deal, commitments=deal.commitments[::-1]).encode(), MessageKind.DEAL, DEALER)
    assert judge.convicted(wrong) == DEALER
    assert judge.convicted(_accuses(Complaint(wrong.encoded, bytes(32)))) == DEALER


def test_every_flipped_byte_of_a_deal_convicts_its_dealer(judge: Judge, parties: dict[str, Party]) -> None:
    """Whatever a dealer changes, somebody can prove it: everybody from the deal, or a holder by a complaint."""
    body = _deal(parties).body
    holders = [holder.name for holder in TERMS.holders]
    for at in range(0, len(body), 3):
        changed = bytearray(body)
        changed[at] ^= 1 << at % 8
        message = _signed(bytes(changed), MessageKind.DEAL, DEALER)
        complaints = [
            _accuses(Complaint(message.encoded, parties[name]._secrets.recipient_keys[AT_DEALER]), name)
            for name in holders
        ]
        judged = {judge.convicted(message), *(judge.convicted(complaint) for complaint in complaints)}
        assert DEALER in judged, f"byte {at}"


def test_every_flipped_bit_of_a_possession_proof_is_refused(parties: dict[str, Party]) -> None:
    """The proof holds for its dealer, commitment and every bit of itself."""
    deal = Deal.decode(TERMS, _deal(parties).body)
    dealers = TERMS.dealers
    commitment, (point, answer) = deal.commitments[0], deal.proof
    assert proves_possession(TERMS, dealers[0], commitment, (point, answer))
    assert not proves_possession(TERMS, dealers[1], commitment, (point, answer))
    assert not proves_possession(generation_terms(2, 3, b"another session!"), dealers[0], commitment, (point, answer))
    for bit in range(256):
        flipped = (int.from_bytes(answer, "little") ^ (1 << bit)).to_bytes(32, "little")
        assert not _is_proof(commitment, point, flipped)
        other = (int.from_bytes(point, "little") ^ (1 << bit)).to_bytes(32, "little")
        assert not _is_proof(commitment, other, answer)


def _is_proof(commitment: group.Element, point: bytes, answer: bytes) -> bool:
    """Tell whether bytes are read as a proof, and are one."""
    try:
        proof = group.element(point), group.scalar(answer)
    except InvalidInputError:
        return False
    return proves_possession(TERMS, TERMS.dealers[0], commitment, proof)


def test_saying_two_things_convicts(judge: Judge, parties: dict[str, Party]) -> None:
    """Two signed headers for one slot are proof; an echo and an abort are two things as well."""
    deal, other = _deal(parties).header, _with_share(_deal(parties), group.scalar_of(7)).header
    assert judge.convicted(_accuses(Conflict(DEALER, deal, other))) == DEALER
    said = exchange(parties)
    echo = next(one for one in said if one.kind is MessageKind.ECHO and one.sender == DEALER).header
    abort = _signed(Abort(Reason.ORDER).encode(), MessageKind.ABORT, DEALER).header
    assert judge.convicted(_accuses(Conflict(DEALER, echo, abort))) == DEALER


def test_a_conflict_that_is_none_convicts_the_accuser(judge: Judge, parties: dict[str, Party]) -> None:
    """The same thing twice, things for two slots, a forged header, somebody else's header: no proof."""
    deal, keys = _deal(parties).header, parties[DEALER].sent[0].header
    foreign = _with_share(_deal(parties), group.scalar_of(7)).header
    for conflict in (
        Conflict(DEALER, deal, deal),
        Conflict(DEALER, deal, keys),
        Conflict(DEALER, deal, replace(deal, digest=bytes(32))),
        Conflict("bank-3", deal, foreign),
        Conflict("stranger", deal, foreign),
    ):
        assert judge.convicted(_accuses(conflict)) == COMPLAINER


def test_one_message_signed_twice_is_one_message(parties: dict[str, Party]) -> None:
    """Contents are compared, not signatures."""
    header = _deal(parties).header
    assert not header.contradicts(replace(header, signature=bytes(64)))


def test_exhibits_convict_whom_they_show(judge: Judge, parties: dict[str, Party]) -> None:
    """A message that breaks the rules, or somebody's proven complaint, is passed on as it is."""
    short = _signed(bytes(32), MessageKind.KEYS, "bank-3")
    assert judge.convicted(_accuses(Exhibit(short.encoded))) == "bank-3"
    bad = _with_share(_deal(parties), group.scalar_of(7))
    complaint = _accuses(Complaint(bad.encoded, _private_key(parties)))
    assert judge.convicted(_accuses(Exhibit(complaint.encoded), sender="bank-3")) == DEALER
    lie = _accuses(Complaint(_deal(parties).encoded, _private_key(parties)))
    assert judge.convicted(_accuses(Exhibit(lie.encoded), sender="bank-3")) == COMPLAINER


def test_an_exhibit_that_proves_nothing_convicts_the_accuser(judge: Judge, parties: dict[str, Party]) -> None:
    """An innocent message, an order, garbage, a forgery, or an exhibit in an exhibit."""
    order = _signed(Abort(Reason.ORDER).encode(), MessageKind.ABORT, DEALER)
    short = _signed(bytes(32), MessageKind.KEYS, "bank-3")
    for shown in (
        _deal(parties).encoded,
        order.encoded,
        b"garbage",
        replace(short, sender=DEALER).encoded,
        _accuses(Exhibit(short.encoded), sender=DEALER).encoded,
    ):
        assert judge.convicted(_accuses(Exhibit(shown))) == COMPLAINER


@pytest.mark.parametrize("kind", [MessageKind.KEYS, MessageKind.DEAL, MessageKind.ECHO, MessageKind.ABORT])
def test_a_signed_body_that_nobody_can_read_convicts_its_sender(judge: Judge, kind: MessageKind) -> None:
    """Whoever signs garbage is guilty of it."""
    assert judge.convicted(_signed(b"garbage", kind, DEALER)) == DEALER


def test_an_administrative_abort_convicts_nobody(judge: Judge) -> None:
    """Orders, deadlines and silence prove nothing."""
    for reason in (Reason.ORDER, Reason.DEADLINE, Reason.FOLLOWS, Reason.DEGENERATE):
        abort = Abort(reason, (COMPLAINER,))
        assert judge.convicted(_signed(abort.encode(), MessageKind.ABORT, DEALER)) is None
