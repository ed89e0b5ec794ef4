"""``listings publish | correct | withdraw | renew | dispute | list | status | verify | sync | rebuild``."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jointrisk.commandline.options import Json, existing_state, home
from jointrisk_node.commands import replica_check

if TYPE_CHECKING:
    from jointrisk.rpc.v1 import listing_lister_pb2 as pb
    from jointrisk_node.data.cells import CellFile

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What this lender lists in the federation.")

_File = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="Rows: a .parquet, .csv or .csv.gz file. docs/listings.md describes the columns."
    ),
]
_References = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="References: a .parquet, .csv or .csv.gz file with a column `reference`, or - for one a line on standard "
        "input.",
    ),
]
_Query = Annotated[str, typer.Option(help="One SELECT that gives the columns; the file is the view `loans`.")]
_SkipRefused = Annotated[bool, typer.Option("--skip-refused", help="List the other rows where some are refused.")]
_AT_ONCE = 1000


@app.command()
def publish(
    context: typer.Context,
    file: _File,
    query: _Query = "SELECT * FROM loans",
    skip_refused: _SkipRefused = False,
    json: Json = False,
) -> None:
    """List the rows of a file. Everything is checked before anything is sent; the same command again goes on."""
    from jointrisk_node.commands.listing_files import send_file

    send_file(home(context), file, query, skip_refused=skip_refused, correcting=False, json=json)


@app.command()
def correct(
    context: typer.Context,
    file: _File,
    query: _Query = "SELECT * FROM loans",
    skip_refused: _SkipRefused = False,
    json: Json = False,
) -> None:
    """Replace what listed rows say, by their references: new entries, and the old ones end at the same moment."""
    from jointrisk_node.commands.listing_files import send_file

    send_file(home(context), file, query, skip_refused=skip_refused, correcting=True, json=json)


@app.command()
def withdraw(context: typer.Context, file: _References, json: Json = False) -> None:
    """End rows, by their references. Carried out by the daemon, also where the coordinator is down now."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.rpc.v1.listing_lister_pb2_grpc import ListingListerStub

    references = _references(home(context), file)
    with daemon(home(context), "node") as channel:
        _show_report(ListingListerStub(channel).Withdraw(references), "withdrawn", json=json)


@app.command()
def dispute(
    context: typer.Context,
    file: _References,
    end: Annotated[bool, typer.Option("--end", help="The dispute has ended, and the row stays.")] = False,
    json: Json = False,
) -> None:
    """Put rows into dispute, by their references: who asks is told so. Carried out as withdrawals are."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.rpc.v1.listing_lister_pb2_grpc import ListingListerStub

    references = _references(home(context), file, ended=end)
    with daemon(home(context), "node") as channel:
        answer = ListingListerStub(channel).Dispute(references)
        _show_report(answer, "no longer in dispute" if end else "in dispute", json=json)


@app.command()
def renew(
    context: typer.Context,
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="As for withdraw.", show_default="all rows")
    ] = None,
    json: Json = False,
) -> None:
    """Put off the coordinator's horizon of rows' entries now. The daemon does so by itself when it is due."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.rpc.v1.listing_lister_pb2_grpc import ListingListerStub

    references = iter(()) if file is None else _references(home(context), file)
    with daemon(home(context), "node") as channel:
        _show_report(ListingListerStub(channel).RenewListed(references), "renewed", json=json)


@app.command(name="list")
def list_own(
    context: typer.Context,
    with_withdrawn: Annotated[bool, typer.Option("--all", help="Rows as well whose withdrawal is on its way.")] = False,
    json: Json = False,
) -> None:
    """Show what this lender has listed: references and labels, never identifiers."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import as_dict, show_json, show_table
    from jointrisk.rpc.v1 import listing_lister_pb2 as pb
    from jointrisk.rpc.v1.listing_lister_pb2_grpc import ListingListerStub

    with daemon(home(context), "node") as channel:
        pages = ListingListerStub(channel).ListOwn(pb.ListOwnRequest(all=with_withdrawn))
        listed = sorted((one for page in pages for one in page.listings), key=lambda one: one.reference)
    if json:
        show_json([as_dict(one) for one in listed])
        return
    show_table(
        ("reference", "category", "severity", "listed on", "expires on", "amount", "state", "found by", "epochs"),
        (
            (
                one.reference,
                one.category,
                one.severity,
                one.listed_on,
                one.expires_on,
                one.amount_band,
                one.state,
                ", ".join(one.kinds),
                ", ".join(map(str, one.epochs)),
            )
            for one in listed
        ),
        empty="Nothing is listed.",
    )


@app.command()
def status(context: typer.Context, json: Json = False) -> None:
    """Show how this lender's listings stand, what waits for the coordinator, and alarms."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json
    from jointrisk.rpc.v1 import listing_lister_pb2 as pb
    from jointrisk.rpc.v1.listing_lister_pb2_grpc import ListingListerStub

    with daemon(home(context), "node") as channel:
        answer = ListingListerStub(channel).GetLister(pb.GetListerRequest())
    if json:
        show_json(answer)
        return
    _show_status(answer)


replica_check.register(app)


def _show_status(answer: "pb.ListerStatus") -> None:
    from jointrisk.commandline.output import show_fields, show_table

    show_fields(
        {
            "rows listed": answer.listed,
            "in dispute": answer.disputed,
            "expired": answer.expired,
            "being withdrawn": answer.withdrawing,
        }
    )
    typer.echo("")
    show_table(
        ("epoch", "live", "verified", "to append", "to mark", "refused", "rows to publish again"),
        (
            (one.epoch, one.live, one.verified, one.to_append, one.to_mark, one.refused, one.to_publish_again)
            for one in answer.epochs
        ),
        empty="No entries.",
    )
    for alarm in answer.alarms:
        where = f", at {', '.join(map(str, alarm.positions))}" if alarm.positions else ""
        typer.echo(
            f"ALARM {alarm.what}: {alarm.count} in epoch {alarm.epoch}{where} "
            f"(log of {alarm.log_size} entries, signed {alarm.signed_at})"
        )


def _references(root: Path, file: str, *, ended: bool = False) -> "Iterator[pb.ListedReferences]":
    """Return references for the daemon; the file is read to its end before, so that a broken one changes nothing."""
    from jointrisk.rpc.v1 import listing_lister_pb2 as pb

    texts = list(_from_standard_input() if file == "-" else _from_file(root, file))
    starts = range(0, len(texts), _AT_ONCE)
    return (pb.ListedReferences(references=texts[start : start + _AT_ONCE], ended=ended) for start in starts)


def _from_standard_input() -> Iterator[str]:
    import sys

    yield from (line.strip() for line in sys.stdin if line.strip())


def _from_file(root: Path, file: str) -> Iterator[str]:
    for batch in _reference_file(root, file).batches():
        yield from (row[0] for row in batch.rows)


def _reference_file(root: Path, file: str) -> "CellFile":
    from jointrisk_node.commands.listing_files import file_settings
    from jointrisk_node.data.cells import CellFile
    from jointrisk_node.settings import load_settings

    settings = load_settings(existing_state(root, "node"))
    read = file_settings(settings, file, "SELECT * FROM loans")
    return CellFile(read, ["reference"], required=["reference"], ignore_others=True)


def _show_report(report: "pb.ReferencesReport", done: str, *, json: bool) -> None:
    from jointrisk.commandline.output import show_json

    if json:
        show_json(report)
        return
    typer.echo(f"{report.taken} {done}, {report.already} were so already.")
    if report.waiting:
        typer.echo(f"{report.waiting} entries wait for the coordinator; see `jointrisk node listings status`.")
    if report.unknown_count:
        places = ", ".join(map(str, report.unknown[:20]))
        typer.echo(f"{report.unknown_count} name no listed row: number {places}", err=True)
