"""Lies: what a party can say that an honest one would not, one function each.

A lie gets what the liar would honestly say and returns what it says instead to one recipient, signed with the liar's
true key: one message, several, or none. `PROVABLE` are those that everybody can prove once they have seen them.
"""

from dataclasses import replace

from ceremony_sample import SUITE
from jointrisk.oprf import group
from jointrisk.oprf.ceremony import Abort, Complaint, Conflict, Exhibit, Kind, MessageKind, Reason, SignedMessage
from jointrisk.oprf.ceremony.bodies import Confirm, Deal, Echo, Keys
from jointrisk.oprf.ceremony.dealing import Dealing
from jointrisk.oprf.ceremony.messages import Slot
from jointrisk.oprf.ceremony.suite import share_context
from jointrisk.oprf.group import Element
from jointrisk.oprf.sharing import Polynomial
from simulation.ceremony_liars import Lie, Telling


def _without(count: int) -> Lie:
    return lambda told: told.says(told.message.body[:-count])


def _two_faced(told: Telling, other: list[SignedMessage]) -> list[SignedMessage]:
    return other if told.side else [told.message]


def _another_key(told: Telling, key: bytes) -> list[SignedMessage]:
    keys = list(Keys.decode(told.terms, told.message.body).public_keys)
    keys[told.victim % len(keys)] = key
    return told.says(Keys(tuple(keys)).encode())


def _keys_unowned(told: Telling) -> list[SignedMessage]:
    return _another_key(told, SUITE.public_key(told.random.randbytes(32)))


def _keys_repeated(told: Telling) -> list[SignedMessage]:
    keys = Keys.decode(told.terms, told.message.body).public_keys
    return told.says(Keys(keys[:-1] + keys[:1]).encode())


def _sealed(told: Telling, sealed: bytes) -> list[SignedMessage]:
    deal, at = told.deal(), told.holder
    return told.says(replace(deal, sealed=(*deal.sealed[:at], sealed, *deal.sealed[at + 1 :])).encode())


def _share_of(told: Telling, share: bytes, *, to_itself: bool = False) -> list[SignedMessage]:
    """Seal another share than the right one, properly."""
    at = told.holder
    dealer = told.terms.dealer(told.liar.name)
    assert dealer is not None
    body, _ = told.deal().keys[at]
    key = Keys.decode(told.terms, body).public_keys[told.terms.dealers.index(dealer)]
    recipient = SUITE.public_key(bytes(32)) if to_itself else key
    context = share_context(told.terms, told.liar.name, told.terms.holders[at].name)
    return _sealed(told, SUITE.seal(told.random.randbytes(32), recipient, context, share))


def _commitment(told: Telling, commitment: bytes) -> list[SignedMessage]:
    deal, at = told.deal(), told.victim % told.terms.threshold
    commitments = (*deal.commitments[:at], Element(commitment), *deal.commitments[at + 1 :])
    return told.says(replace(deal, commitments=commitments).encode())


def _commitments(told: Telling, change: int) -> list[SignedMessage]:
    given = told.deal().commitments
    return told.says(replace(told.deal(), commitments=given[:-1] if change < 0 else given + given[:1]).encode())


def _possession_wrong(told: Telling) -> list[SignedMessage]:
    point, answer = told.deal().proof
    return told.says(replace(told.deal(), proof=(point, group.scalar_add(answer, group.scalar_of(1)))).encode())


def _possession_copied(told: Telling) -> list[SignedMessage]:
    copied = Deal.decode(told.terms, told.honest(MessageKind.DEAL).body) if _knows_deal(told) else None
    proof = copied.proof if copied else (group.GENERATOR, group.scalar_of(1))
    return told.says(replace(told.deal(), proof=proof).encode())


def _knows_deal(told: Telling) -> bool:
    return any(one.kind is MessageKind.DEAL and one.sender != told.liar.name for one in told.liar.messages)


def _deal_copied(told: Telling) -> list[SignedMessage]:
    return told.says(told.honest(MessageKind.DEAL).body) if _knows_deal(told) else _possession_wrong(told)


def _key_rogue(told: Telling) -> list[SignedMessage]:
    """Commit to a key of the liar's own less the other dealer's commitment."""
    own = group.multiply_base(group.random_scalar(told.random.randbytes))
    other = Deal.decode(told.terms, told.honest(MessageKind.DEAL).body).commitments[0] if _knows_deal(told) else own
    deal = told.deal()
    rogue = group.subtract(group.add(own, own), other)
    return told.says(replace(deal, commitments=(rogue, *deal.commitments[1:])).encode())


def _deals_anew(told: Telling, *, of_another_secret: bool = False) -> list[SignedMessage]:
    """Deal another polynomial, of the same secret or of another one."""
    dealer, before = told.terms.dealer(told.liar.name), told.liar.drawn.dealing
    assert dealer is not None
    assert before is not None
    drawn = Dealing.begin(told.terms, replace(dealer, public_key=None), None, told.random.randbytes)
    secret = (drawn if of_another_secret else before).polynomial.coefficients[:1]
    polynomial = Polynomial(secret + drawn.polynomial.coefficients[1:])
    keys = [told.liar._ledger.first(Slot.KEYS, holder.name) for holder in told.terms.holders]
    deal = replace(drawn, polynomial=polynomial).deal(told.terms, dealer, [one for one in keys if one], SUITE)
    return told.says(deal.encode())


def _secret_other(told: Telling) -> list[SignedMessage]:
    """Deal a secret that is not the liar's part of the group key; where every secret will do, prove nothing of it."""
    if told.terms.kind is Kind.GENERATE:
        return _possession_wrong(told)
    return _deals_anew(told, of_another_secret=True)


def _deal_for_other_keys(told: Telling) -> list[SignedMessage]:
    """Claim that a holder has other keys."""
    deal, at = told.deal(), told.holder
    body, signature = deal.keys[at]
    changed = (SUITE.public_key(bytes(32)) + body[32:], signature)
    return told.says(replace(deal, keys=(*deal.keys[:at], changed, *deal.keys[at + 1 :])).encode())


def _echo_unwitnessed(told: Telling) -> list[SignedMessage]:
    deals = Echo.decode(told.terms, told.message.body).deals
    return told.says(Echo(((told.random.randbytes(32), deals[0][1]), *deals[1:])).encode())


def _echo_of_two_deals(told: Telling) -> list[SignedMessage]:
    """Echo to each side the deal that the liar gave it."""
    deals = list(Echo.decode(told.terms, told.message.body).deals)
    own = next((at for at, dealer in enumerate(told.terms.dealers) if dealer.name == told.liar.name), None)
    other = told.liar.dealt.get(told.side)
    if own is not None and other is not None:
        deals[own] = (other.header.digest, other.signature)
    return told.says(Echo(tuple(deals)).encode())


def _deal_twice(told: Telling) -> list[SignedMessage]:
    said = _two_faced(told, _deals_anew(told))
    told.liar.dealt[told.side] = said[0]
    return said


def _complaint_false(told: Telling) -> list[SignedMessage]:
    """Complain about a share that fits, and show that it does. A dealer that is no holder has nothing to show."""
    deal = told.honest(MessageKind.DEAL)
    at = [one.name for one in told.terms.dealers].index(deal.sender)
    keys = told.liar.drawn.recipient_keys
    return told.accuses(Complaint(deal.encoded, keys[at] if keys else bytes(32)))


def _conflict_forged(told: Telling) -> list[SignedMessage]:
    header = told.honest(MessageKind.DEAL).header
    return told.accuses(Conflict(told.honest(MessageKind.DEAL).sender, header, replace(header, digest=bytes(32))))


def _conflict_none(told: Telling) -> list[SignedMessage]:
    header = told.honest(MessageKind.DEAL).header
    return told.accuses(Conflict(told.honest(MessageKind.DEAL).sender, header, header))


def _conflict_of_slots(told: Telling) -> list[SignedMessage]:
    """Two genuine messages of one sender, for two slots."""
    deal = told.honest(MessageKind.DEAL)
    keys = next((one for one in told.liar.messages if one.sender == deal.sender and one != deal), deal)
    return told.accuses(Conflict(deal.sender, deal.header, keys.header))


def _exhibit_nested(told: Telling) -> list[SignedMessage]:
    inner = told.accuses(Exhibit(told.honest(MessageKind.DEAL).encoded))[0]
    return told.accuses(Exhibit(inner.encoded))


def _exhibit_of_a_forged_complaint(told: Telling) -> list[SignedMessage]:
    """Make an honest party complain falsely."""
    deal = told.honest(MessageKind.DEAL)
    abort = Abort(Reason.EVIDENCE, evidence=Complaint(deal.encoded, bytes(32)))
    forged = replace(deal, kind=MessageKind.ABORT, body=abort.encode())
    return told.accuses(Exhibit(forged.encoded))


def _order(told: Telling) -> list[SignedMessage]:
    return told.aborts(Abort(Reason.ORDER))


PROVABLE: dict[MessageKind, dict[str, Lie]] = {
    MessageKind.KEYS: {
        "keys-zero": lambda told: _another_key(told, bytes(32)),
        "keys-short": _without(32),
        "keys-long": lambda told: told.says(told.message.body + bytes(32)),
        "keys-repeated": _keys_repeated,
        "keys-unowned": _keys_unowned,
        "keys-twice": lambda told: _two_faced(told, _keys_unowned(told)),
    },
    MessageKind.DEAL: {
        "share-wrong": lambda told: _share_of(told, group.random_scalar(told.random.randbytes)),
        "share-zero": lambda told: _share_of(told, bytes(32)),
        "share-too-large": lambda told: _share_of(told, b"\xff" * 32),
        "share-sealed-to-another": lambda told: _share_of(told, group.scalar_of(1), to_itself=True),
        "sealed-garbage": lambda told: _sealed(told, told.random.randbytes(80)),
        "sealed-from-zero": lambda told: _sealed(told, bytes(80)),
        "commitment-missing": lambda told: _commitments(told, -1),
        "commitment-more": lambda told: _commitments(told, 1),
        "commitment-identity": lambda told: _commitment(told, group.IDENTITY),
        "commitment-not-canonical": lambda told: _commitment(told, b"\xff" * 32),
        "commitment-other": lambda told: _commitment(told, group.from_uniform(told.random.randbytes(64))),
        "possession-wrong": _possession_wrong,
        "possession-copied": _possession_copied,
        "deal-copied": _deal_copied,
        "key-rogue": _key_rogue,
        "deal-for-other-keys": _deal_for_other_keys,
        "deal-twice": _deal_twice,
        "secret-other": _secret_other,
    },
    MessageKind.ECHO: {
        "echo-short": _without(1),
        "echo-unwitnessed": _echo_unwitnessed,
        "echo-and-abort": lambda told: _two_faced(told, _order(told)),
        "echo-and-abort-to-all": lambda told: [told.message, *_order(told)],
        "abort-and-echo-to-all": lambda told: [*_order(told), told.message],
        "complaint-false": _complaint_false,
        "complaint-key-wrong": lambda told: told.accuses(
            Complaint(told.honest(MessageKind.DEAL).encoded, told.random.randbytes(32))
        ),
        "complaint-no-deal": lambda told: told.accuses(Complaint(told.message.encoded, bytes(32))),
        "conflict-forged": _conflict_forged,
        "conflict-none": _conflict_none,
        "conflict-of-slots": _conflict_of_slots,
        "exhibit-innocent": lambda told: told.accuses(Exhibit(told.honest(MessageKind.DEAL).encoded)),
        "exhibit-garbage": lambda told: told.accuses(Exhibit(told.random.randbytes(300))),
        "exhibit-nested": _exhibit_nested,
        "exhibit-forged-complaint": _exhibit_of_a_forged_complaint,
        "abort-garbage": lambda told: told.says(told.random.randbytes(40), MessageKind.ABORT),
        "echo-of-two-deals": _echo_of_two_deals,
    },
    MessageKind.CONFIRM: {
        "confirm-short": _without(1),
        "confirm-twice": lambda told: _two_faced(told, told.says(Confirm(bytes(32)).encode())),
    },
}

DENIABLE: dict[MessageKind, dict[str, Lie]] = {
    MessageKind.KEYS: {"keys-withheld": lambda _: [], "keys-to-some": lambda told: [told.message] * told.side},
    MessageKind.DEAL: {"deal-withheld": lambda _: [], "deal-to-some": lambda told: [told.message] * told.side},
    MessageKind.ECHO: {
        "vote-withheld": lambda _: [],
        "vote-to-some": lambda told: [told.message] * told.side,
        "order-for-no-reason": _order,
    },
    MessageKind.CONFIRM: {
        "confirm-withheld": lambda _: [],
        "confirm-other": lambda told: told.says(Confirm(bytes(32)).encode()),
    },
}

LIES = {
    name: (kind, lie) for table in (PROVABLE, DENIABLE) for kind, lies in table.items() for name, lie in lies.items()
}
"""All lies by name, with the message that each replaces."""

COMBINED = {"echo-of-two-deals": ("deal-twice", "echo-of-two-deals")}
"""Lies that only hold with another one."""
