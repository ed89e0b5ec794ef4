"""``signals query | screen``."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jointrisk.commandline.options import Json, home

if TYPE_CHECKING:
    from jointrisk.rpc.v1 import evaluation_pb2
    from jointrisk.rpc.v1 import signal_pb2 as pb

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="What is listed about persons, and at how many lenders they are."
)


class AskedFor(StrEnum):
    """Why persons are asked about."""

    ADMISSION = "admission"
    PORTFOLIO = "portfolio"
    INVESTIGATION = "investigation"


_Purpose = Annotated[AskedFor, typer.Option(help="Why it is asked. Audited here and at the holders.")]
_ConsentReference = Annotated[
    str,
    typer.Option("--consent", metavar="REF", help="Under what your own systems hold the consent. Audited here."),
]


@app.command(context_settings={"allow_extra_args": True})
def query(
    context: typer.Context,
    purpose: _Purpose,
    consent: _ConsentReference,
    json: Json = False,
) -> None:
    """Ask about one person. All its identifiers come on standard input, or are asked for and not echoed.

    A line for each identifier: kind, country, value, such as `phone CN 138 0000 0000`; or JSON, a list of objects with
    kind, country and value. Kinds: docs/identifiers.md.
    """
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json
    from jointrisk.errors import InvalidInputError
    from jointrisk.rpc.v1 import signal_pb2 as pb
    from jointrisk.rpc.v1.signal_pb2_grpc import SignalServiceStub
    from jointrisk_node.commands.signal_input import identifiers_given
    from jointrisk_node.commands.signal_view import show_answer

    if context.args:
        raise InvalidInputError(
            "expected no identifier on the command line: other users of this machine and the shell's history see it",
            remedy="Write it to standard input, or call the command on a terminal and be asked.",
        )
    person = pb.Person(identifiers=[pb.PersonIdentifier(**one) for one in identifiers_given()])
    with daemon(home(context), "node") as channel:
        request = pb.QueryRequest(persons=[person], purpose=purpose_code(purpose), consent_reference=consent)
        answer = SignalServiceStub(channel).Query(request)
    if json:
        show_json(answer)
        return
    show_answer(answer)


@app.command()
def screen(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Persons: a .parquet, .csv or .csv.gz file with columns of identifiers as in files of listings.",
        ),
    ],
    purpose: _Purpose,
    consent: _ConsentReference,
    out: Annotated[
        Path | None,
        typer.Option(help="Write what was found to this .csv or .parquet file.", show_default="CSV on standard output"),
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="Carry this column along, such as a customer's id. Repeatable.")
    ] = None,
    query: Annotated[
        str, typer.Option(help="One SELECT that gives the columns; the file is the view `loans`.")
    ] = "SELECT * FROM loans",
    json: Json = False,
) -> None:
    """Ask about a book. The result has a row for each person about whom there is something to tell.

    Rows that cannot be asked about are in it, too, with the rule that they break; about all others nothing is listed.
    """
    from jointrisk_node.commands.signal_book import screen_book

    screen_book(home(context), file, query, tuple(keep or ()), out, terms(purpose, consent), json=json)


def terms(purpose: AskedFor, consent: str) -> "pb.ScreenTerms":
    """Return the terms of a screening."""
    from jointrisk.rpc.v1 import signal_pb2 as pb

    return pb.ScreenTerms(purpose=purpose_code(purpose), consent_reference=consent)


def purpose_code(purpose: AskedFor) -> "evaluation_pb2.Purpose.ValueType":
    """Return a purpose as the wire contract has it."""
    from jointrisk.rpc.v1 import evaluation_pb2

    return evaluation_pb2.Purpose.Value(purpose.name)
