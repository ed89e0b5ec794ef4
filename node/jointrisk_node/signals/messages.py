"""Between the wire contract and what this package computes with."""

from collections.abc import Iterable

from jointrisk.clock import rfc3339
from jointrisk.rpc.v1 import signal_pb2 as pb
from jointrisk_node.signals.answer import Exposure, Listing, Signal
from jointrisk_node.signals.desk import EpochAsked
from jointrisk_node.signals.person import Given, Person, person_of
from jointrisk_node.signals.screening import Screened


def given(one: pb.PersonIdentifier) -> Given:
    """Return an identifier as it came."""
    return Given(one.kind, one.country, one.value)


def person(identifiers: Iterable[pb.PersonIdentifier]) -> Person:
    """Return a person. Raises as `jointrisk_node.signals.person.person_of`."""
    return person_of(map(given, identifiers))


def signal(one: Signal) -> pb.Signal:
    """Return what is listed about a person, as a message."""
    return pb.Signal(
        listings=map(_listing, one.listings),
        unopened=[
            pb.UnopenedEntry(epoch=epoch, reason=reason.value, count=count) for epoch, reason, count in one.unopened
        ],
        expired=one.expired,
        lenders=one.lenders,
        other_lenders=one.other_lenders,
        exposure=_exposure(one.exposure),
        exposure_elsewhere=_exposure(one.elsewhere),
    )


def epoch(asked: EpochAsked) -> pb.EpochAsked:
    """Return how an epoch was asked, as a message."""
    return pb.EpochAsked(
        epoch=asked.epoch,
        generation=asked.generation,
        quorum=asked.quorum,
        request_ids=[one.hex() for one in asked.request_ids],
        proofs_verified=asked.proofs_verified,
        blamed=[pb.BlamedHolder(member=one.member, why=one.why) for one in asked.blamed],
        replica_size=asked.replica.size,
        head_hash=asked.replica.head_hash.hex(),
        head_signed_at=rfc3339(asked.replica.signed_at),
        head_age_seconds=max(0, int(asked.replica.age.total_seconds())) if asked.replica.age else 0,
    )


def screened(part: Screened) -> pb.ScreenResponse:
    """Return what became of a part of a book, as a message."""
    found = [pb.ScreenedPerson(row=row, signal=signal(one)) for row, one in part.found]
    found += [pb.ScreenedPerson(row=row, refused=rule) for row, rule in part.refused]
    return pb.ScreenResponse(found=found, screened=part.persons, epochs=map(epoch, part.epochs))


def _listing(one: Listing) -> pb.PersonListing:
    return pb.PersonListing(
        category=one.category.value,
        severity=one.severity.value,
        listed_on=one.listed_on.isoformat(),
        expires_on=one.expires_on.isoformat(),
        amount_band=one.amount_band.value,
        member_kind=one.member_kind.value,
        disputed=one.disputed,
        own=one.own,
        epochs=one.epochs,
    )


def _exposure(one: Exposure) -> pb.Exposure:
    return pb.Exposure(
        active_loan_lenders=one.loan_lenders,
        active_loans=one.loans,
        applications=[
            pb.ApplicationsWithin(days=each.days, lenders=each.lenders, applications=each.applications)
            for each in one.applications
        ],
    )
