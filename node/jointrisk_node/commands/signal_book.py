"""Books: streamed to the daemon, what is found is written beside the cells that are carried along."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from jointrisk.commandline.options import existing_state

if TYPE_CHECKING:
    import pyarrow as pa

    from jointrisk.errors import JointriskError
    from jointrisk.rpc.v1 import signal_pb2 as pb
    from jointrisk.rpc.v1.signal_pb2_grpc import SignalServiceStub
    from jointrisk_node.signals.book import Book

_PERSONS_AT_ONCE = 500


def screen_book(
    root: Path, file: str, query: str, keep: tuple[str, ...], out: Path | None, terms: "pb.ScreenTerms", *, json: bool
) -> None:
    """Screen a file, write what was found, and report.

    Raises:
        InvalidInputError: the file cannot be read, or the output cannot be written.
        JointriskError: the daemon cannot answer for all of the book; then nothing is written.
    """
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.errors import InvalidInputError
    from jointrisk.rpc.v1.signal_pb2_grpc import SignalServiceStub
    from jointrisk_node.commands.listing_files import file_settings
    from jointrisk_node.scoring.output import check, write
    from jointrisk_node.settings import load_settings
    from jointrisk_node.signals.book import Book

    if json and out is None:
        raise InvalidInputError("expected --out with --json: standard output holds one or the other")
    if out is not None:
        check(out)
    settings = load_settings(existing_state(root, "node"))
    book = Book(file_settings(settings, file, query), keep, settings.listings.country)
    with daemon(root, "node") as channel:
        screening = _Screening(book, keep, terms, SignalServiceStub(channel))
        write(screening.tables(), out)
    screening.show(json=json)


class _Screening:
    """One pass over a book.

    Args:
        book: the persons.
        keep: names of the columns that are carried along.
        terms: why they are asked about.
        stub: the daemon.
    """

    def __init__(self, book: "Book", keep: tuple[str, ...], terms: "pb.ScreenTerms", stub: "SignalServiceStub") -> None:
        self._book = book
        self._keep = keep
        self._terms = terms
        self._stub = stub
        self._waiting: deque[tuple[int, tuple[str, ...]]] = deque()
        self._failed: list[JointriskError] = []
        self._counts = {"persons": 0, "listed": 0, "unopened": 0, "refused": 0}
        self._epochs: list[pb.EpochAsked] = []

    def tables(self) -> "Iterator[pa.Table]":
        """Yield what is found, part by part."""
        from jointrisk.errors import UnavailableError
        from jointrisk_node.signals.book import result_table

        size = self._book.size()
        yield result_table(self._keep, [])  # a book about which nothing is listed has a header as well
        with _progress(size) as progress:
            for part in self._stub.Screen(self._requests()):
                yield result_table(self._keep, self._taken(part))
                progress(self._counts["persons"])
        if self._failed:
            raise self._failed[0]
        if self._counts["persons"] != size:
            raise UnavailableError(f"expected answers about {size} persons, got {self._counts['persons']}")

    def show(self, *, json: bool) -> None:
        """Say how many were found; on standard error where the result may be on standard output."""
        from jointrisk.commandline.output import as_dict, show_json
        from jointrisk_node.commands.signal_view import show_epochs

        if json:
            show_json(self._counts | {"epochs": [as_dict(one) for one in self._epochs]})
            return
        counts = self._counts
        typer.echo(f"{counts['listed']:,} of {counts['persons']:,} persons are listed", err=True)
        if counts["unopened"]:
            typer.echo(f"  {counts['unopened']:,} have entries that do not open, and nothing else", err=True)
        if counts["refused"]:
            typer.echo(f"  {counts['refused']:,} could not be asked about: see the column `reason`", err=True)
        show_epochs(self._epochs, err=True)

    def _taken(self, part: "pb.ScreenResponse") -> "list[tuple[pb.ScreenedPerson, tuple[str, ...]]]":
        """Return what a part has found, with the cells that are carried along."""
        covered = dict(self._waiting.popleft() for _ in range(part.screened))
        self._counts["persons"] += part.screened
        for one in part.found:
            refused = one.WhichOneof("outcome") == "refused"
            self._counts["refused" if refused else "listed" if one.signal.listings else "unopened"] += 1
        if part.epochs:
            self._epochs = list(part.epochs)
        found = sorted(part.found, key=lambda one: one.row)
        return [(one, covered[one.row]) for one in found]

    def _requests(self) -> "Iterator[pb.ScreenRequest]":
        """Yield what is sent. gRPC takes it in a thread of its own, where errors would be lost: they are noted."""
        from jointrisk.errors import JointriskError
        from jointrisk.rpc.v1 import signal_pb2 as pb

        yield pb.ScreenRequest(terms=self._terms)
        persons: list[pb.ScreenPerson] = []
        try:
            for row in self._book.rows():
                persons.append(row.person)
                self._waiting.append((row.person.row, row.kept))
                if len(persons) == _PERSONS_AT_ONCE:
                    yield pb.ScreenRequest(persons=pb.ScreenPersons(persons=persons))
                    persons = []
        except JointriskError as error:
            self._failed.append(error)
            return
        if persons:
            yield pb.ScreenRequest(persons=pb.ScreenPersons(persons=persons))


@contextmanager
def _progress(persons: int) -> Iterator[Callable[[int], None]]:
    """Show how far it has come, where a person looks on."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.completed:,} persons screened"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("screen", total=persons)
        yield lambda done: shown.update(task, completed=done)
