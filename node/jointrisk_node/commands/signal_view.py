"""What is listed about a person, as people read it."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jointrisk.rpc.v1 import signal_pb2 as pb


def show_answer(answer: "pb.QueryResponse") -> None:
    """Print the answer to a query: what is listed, how exposed, and how it was asked."""
    for signal in answer.signals:
        _show_signal(signal)
    typer.echo("")
    show_epochs(answer.epochs)


def show_epochs(epochs: "Iterable[pb.EpochAsked]", *, err: bool = False) -> None:
    """Print how each epoch was asked, and how fresh what it said is; on standard error with ``err``."""
    for one in epochs:
        typer.echo(
            f"Epoch {one.epoch}: {', '.join(one.quorum)} answered (generation {one.generation}, "
            f"{_number(one.proofs_verified, 'proof')} verified); "
            f"{_number(one.replica_size, 'log entry', 'log entries')} as of {one.head_signed_at} "
            f"({one.head_age_seconds} s ago)",
            err=err,
        )
        for blamed in one.blamed:
            typer.secho(f"  {blamed.member} answered falsely: {blamed.why}", fg=typer.colors.RED, err=err)
        if one.request_ids:
            more = f" and {len(one.request_ids) - 1} more" if len(one.request_ids) > 1 else ""
            typer.echo(f"  request {one.request_ids[0]}{more}", err=err)


def _show_signal(signal: "pb.Signal") -> None:
    from jointrisk.commandline.output import show_table

    if signal.listings:
        lenders = _number(signal.lenders, "lender")
        listings = _number(len(signal.listings), "listing")
        typer.secho(f"{listings} of {lenders}, {signal.other_lenders} of them other lenders.", bold=True)
        show_table(
            ("category", "severity", "listed on", "expires on", "amount", "lender", ""),
            (_row(one) for one in signal.listings),
            empty="",
        )
        _show_exposure(signal)
    elif signal.unopened:
        typer.secho("Nothing can be said about this person.", bold=True)
    else:
        typer.secho("Nothing is listed.", bold=True)
    for entry in signal.unopened:
        what = _number(entry.count, "entry", "entries")
        said = f"{what} of epoch {entry.epoch} did not open: {entry.reason}. No listing; tell the coordinator's people."
        typer.secho(said, fg=typer.colors.RED)
    if signal.expired:
        typer.echo(f"{_number(signal.expired, 'listing')} expired.")


def _row(one: "pb.PersonListing") -> tuple[str, ...]:
    marks = [word for word, true in (("disputed", one.disputed), ("own", one.own)) if true]
    return (
        _words(one.category),
        one.severity,
        one.listed_on,
        one.expires_on,
        _words(one.amount_band),
        _words(one.member_kind),
        ", ".join(marks),
    )


def _show_exposure(signal: "pb.Signal") -> None:
    from jointrisk.commandline.output import show_table

    typer.echo("")
    both = signal.exposure, signal.exposure_elsewhere
    rows = [("active loans", *(_at(one.active_loans, one.active_loan_lenders) for one in both))]
    for place, within in enumerate(signal.exposure.applications):
        counted = [one.applications[place] for one in both]
        cells = (_at(one.applications, one.lenders) for one in counted)
        rows.append((f"applications in {within.days} days", *cells))
    show_table(("exposure", "all lenders", "other lenders"), rows, empty="")


def _at(number: int, lenders: int) -> str:
    return f"{number} at {_number(lenders, 'lender')}" if number else "none"


def _number(number: int, one: str, several: str = "") -> str:
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def _words(code: str) -> str:
    return code.replace("_", " ")
