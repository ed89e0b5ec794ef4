"""Key ceremonies as command lines show them, at the coordinator and at nodes alike."""

from collections.abc import Iterable

from jointrisk.federation.fingerprint import terms_fingerprint
from jointrisk.oprf.ceremony import GroupKey, Kind, SignedMessage, Terms
from jointrisk.rpc.v1 import ceremony_operator_pb2 as pb


def ceremony_status(
    terms: Terms,
    *,
    state: str,
    detail: str,
    approved_by: Iterable[str],
    waiting_for: Iterable[str],
    missing: Iterable[str],
    messages: Iterable[SignedMessage],
    key: GroupKey | None,
) -> pb.CeremonyStatus:
    """Return a ceremony as it stands.

    Args:
        terms: what it is about.
        state: "approving", "running", "done" or "aborted".
        detail: how it ended, for people.
        approved_by: who has approved.
        waiting_for: whose approval is awaited.
        missing: whose next message is awaited.
        messages: what is on the board.
        key: the group key, once it is done.
    """
    approved = sorted(approved_by)
    posted: dict[str, list[str]] = {name: [] for name in terms.identities}
    for message in messages:
        if message.sender in posted:
            posted[message.sender].append(message.kind.name.lower())
    return pb.CeremonyStatus(
        ceremony_id=terms.session.hex(),
        kind=terms.kind.name.lower(),
        state=state,
        detail=detail,
        epoch=terms.epoch,
        generation=terms.new_generation,
        threshold=terms.threshold,
        holders=terms.indices,
        dealers=[dealer.name for dealer in terms.old_dealers],
        approved_by=approved,
        waiting_for=waiting_for,
        missing=missing,
        parties=[
            pb.CeremonyParty(member_id=name, role=role(terms, name), approved=name in approved, posted=posted[name])
            for name in terms.identities
        ],
        group_key=key.public_key.hex() if key else "",
        terms_fingerprint=terms_fingerprint(terms.digest),
    )


def role(terms: Terms, name: str) -> str:
    """Say what a party is in a ceremony: "holder", "dealer" or "holder, dealer"."""
    holds = name in terms.indices
    deals = terms.kind is not Kind.GENERATE and terms.dealer(name) is not None
    return ", ".join(word for word, applies in (("holder", holds), ("dealer", deals)) if applies)
