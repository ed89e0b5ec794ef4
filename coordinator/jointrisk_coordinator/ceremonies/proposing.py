"""The terms of a new ceremony, from what an operator asks for and what there is."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jointrisk.errors import ConflictError, InvalidInputError, NotFoundError
from jointrisk.federation.history import RosterMember
from jointrisk.oprf.ceremony import Dealer, GroupKey, Holder, Kind, Terms

WHATS: Final = ("start", "refresh", "reshare", "rotate")
"""What an operator can ask for."""


@dataclass(frozen=True)
class Wish:
    """What an operator asks for.

    Attributes:
        what: one of `WHATS`.
        threshold: how many holders it shall take; 0: as many as now.
        holders: who shall hold a share; empty: who does now.
        dealers: which of today's holders deal; empty: those who are online, in their order.
    """

    what: str
    threshold: int = 0
    holders: tuple[str, ...] = ()
    dealers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Standing:
    """What there is.

    Attributes:
        federation: its name.
        members: current members by name.
        online: who is connected now.
        key: the present group key; None before the first ceremony.
        generation: the highest number of a generation that was ever proposed.
        epoch: the highest number of an epoch that was ever proposed. Numbers are never used twice: who has agreed to
            the end of a ceremony that others gave up may still be bound by it.
    """

    federation: str
    members: Mapping[str, RosterMember]
    online: Collection[str]
    key: GroupKey | None
    generation: int
    epoch: int


def terms_of(wish: Wish, standing: Standing, session: bytes) -> Terms:
    """Return the terms that an operator's wish comes to.

    Raises:
        InvalidInputError: they contradict themselves, or there is no such wish.
        ConflictError: there is a key already, or none yet.
        NotFoundError: somebody named is no member, or no holder.
    """
    if wish.what not in WHATS:
        raise InvalidInputError(f"expected one of {', '.join(WHATS)}, got something else")
    _require_key(wish, standing)
    names, threshold = _shape(wish, standing.key)
    generates = wish.what in {"start", "rotate"}
    old = standing.key
    return Terms(
        session=session,
        kind=Kind.GENERATE if generates else Kind[wish.what.upper()],
        federation=standing.federation,
        epoch=standing.epoch + 1 if old is None or generates else old.epoch,
        old_generation=old.generation if old else 0,
        new_generation=standing.generation + 1,
        threshold=threshold,
        holders=tuple(Holder(name, _member(standing, name).identity_key) for name in names),
        old_dealers=() if old is None or generates else _dealers(wish, standing, old),
        old_public_key=None if old is None or generates else old.public_key,
    )


def _require_key(wish: Wish, standing: Standing) -> None:
    if wish.what == "start" and standing.key is not None:
        raise ConflictError("there is a key already", remedy="`ceremony rotate` makes another for a new epoch.")
    if wish.what != "start" and standing.key is None:
        raise ConflictError("there is no key yet", remedy="`ceremony start` makes the first.")


def _shape(wish: Wish, key: GroupKey | None) -> tuple[Sequence[str], int]:
    """Return the new holders and how many of them it takes."""
    present = tuple(name for name, _ in key.holders) if key else ()
    if wish.what == "refresh" and (wish.holders or wish.threshold):
        raise InvalidInputError("a refresh keeps holders and threshold", remedy="`ceremony reshare` changes them.")
    holders, threshold = wish.holders or present, wish.threshold or (key.threshold if key else 0)
    if not holders or not threshold:
        raise InvalidInputError("expected holders and a threshold, got none")
    return holders, threshold


def _dealers(wish: Wish, standing: Standing, key: GroupKey) -> tuple[Dealer, ...]:
    """Return as many of today's holders as the threshold says, in the order of their indices."""
    indices = {name: index for index, (name, _) in enumerate(key.holders, 1)}
    if unknown := sorted(set(wish.dealers) - set(indices)):
        raise NotFoundError(f"no holder today: {', '.join(unknown)}", remedy=f"Holders are: {', '.join(indices)}.")
    able = [name for name in indices if name in standing.members]
    chosen = [name for name in able if name in (wish.dealers or standing.online)]
    if len(chosen) < key.threshold or (wish.dealers and len(wish.dealers) != key.threshold):
        raise ConflictError(
            f"expected {key.threshold} of today's holders to deal, got {len(wish.dealers or chosen)}",
            remedy="Wait until enough of them are online, or name them with --dealers.",
        )
    publics = dict(key.holders)
    return tuple(
        Dealer(name, standing.members[name].identity_key, indices[name], publics[name])
        for name in chosen[: key.threshold]
    )


def _member(standing: Standing, name: str) -> RosterMember:
    if name not in standing.members:
        raise NotFoundError(f"{name} is no member", remedy="`members` lists them.")
    return standing.members[name]
