"""What a thief of disks, a reader of logs or a curious operator finds of listings: nobody's identifier, no key."""

import csv
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ceremonies_held import parsed
from command_in_process import jointrisk
from demo_people import Person, person
from disk_witness import DiskWitness
from jointrisk.identifiers import Identifier, canonicalise
from jointrisk.listing.derive import ListingKeys, derive
from jointrisk.listing.packed import unpack
from jointrisk.listing.record import Record, open_sealed
from jointrisk.oprf import group
from jointrisk.oprf.group import Scalar
from jointrisk.oprf.holder import evaluate_unproven
from jointrisk.oprf.requester import blind
from jointrisk.oprf.sharing import lagrange
from listing_federation import ListingFederation, row
from local_federation import Daemon
from needles import Needle, byte_needles, everything_under, found_in, secret_needles, text_needles

pytestmark = pytest.mark.federation

LISTED, COMMON, WITHDRAWN, BROKEN, ASKED = 700_001, 700_002, 700_003, 700_004, 700_005
"""Persons: of one lender, of two, withdrawn again, in a row that is refused, and asked about without being listed."""
MISTYPED = "11010119900307777"
"""A resident's number with a digit too few."""
REFERENCE, CONSENT, BOOK_CONSENT = "loan-Marker-Quokka", "consent-Marker-Walrus", "consent-Marker-Zephyr"
DEBUG = '\n[log]\nlevel = "debug"\n'
DIGITS = 11


class Watched(ListingFederation):
    """A federation whose commands and daemons have their own temporary directory and home."""

    @property
    def environment(self) -> dict[str, str]:
        """What they are told."""
        places = {name: str(self.root.parent / name) for name in ("tmp", "home")}
        return {"TMPDIR": places["tmp"], "HOME": places["home"], "XDG_CACHE_HOME": places["home"]}

    def new_node(self, name: str) -> Daemon:
        """Return a node that has no state directory yet."""
        node = super().new_node(name)
        node.environment.update(self.environment)
        return node

    def typed(self, name: str, given: str, *words: str) -> bytes:
        """Run a command as a process of its own; return all that it said."""
        line = [sys.executable, "-m", "jointrisk.cli", "node", "--home", str(self.nodes[name].home), *words]
        environment = {**os.environ, **self.environment}
        done = subprocess.run(line, input=given.encode(), capture_output=True, check=False, env=environment)
        return done.stdout + done.stderr


@dataclass(frozen=True)
class Aftermath:
    """What is left when lenders have published, corrected, withdrawn, asked and screened, and all has stopped."""

    root: Path
    federation: Watched
    witness: DiskWitness
    said: dict[str, bytes]
    token: str = field(repr=False)
    records: list[Record] = field(repr=False)
    withdrawn: Record = field(repr=False)

    def places(self) -> dict[str, bytes]:
        """Everything that was written: state directories, logs, what commands said, files that came and went."""
        places = dict(self.said)
        for daemon in self.federation.daemons:
            places |= everything_under(daemon.home)
            places[f"log of {daemon.name}"] = (daemon.home.parent / f"{daemon.name}.log").read_bytes()
        return places | everything_under(self.root / "witnessed")

    def key(self) -> Scalar:
        """Return the whole key, of two holders' shares: what nobody has."""
        shares = {index: self.federation.held(name)[1] for index, name in ((1, "ash"), (2, "birch"))}
        weights = lagrange(list(shares))
        one, other = (group.scalar_multiply(weights[index], share) for index, share in shares.items())
        return group.scalar_add(one, other)

    def outputs(self) -> dict[Identifier, bytes]:
        """Return what everybody's identifiers are evaluated to."""
        identifiers = [one for number in (LISTED, COMMON, WITHDRAWN, ASKED) for one in of(person(number))]
        batch = blind([one.oprf_input(1) for one in identifiers], os.urandom)
        outputs = batch.finalize(evaluate_unproven(self.key(), batch.elements))
        return dict(zip(identifiers, outputs, strict=True))

    def opening(self) -> list[ListingKeys]:
        """Return the keys that the outputs give."""
        return [derive(output, 1) for output in self.outputs().values()]


def of(one: Person) -> tuple[Identifier, Identifier]:
    """Return a person's identifiers."""
    return canonicalise("resident_id", "CN", one.resident_id), canonicalise("phone", "CN", one.phone)


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    """Three lenders, of which two list marked persons and the third asks about them and screens a book."""
    root = tmp_path_factory.mktemp("listed")
    for name in ("tmp", "home", "books"):
        (root / name).mkdir()
    umask = os.umask(0)
    try:
        with Watched(root / "f") as federation:
            federation.coordinator.environment.update(federation.environment)
            watched = [root / "f" / name for name in ("coordinator", "ash", "birch", "cedar")]
            with DiskWitness([*watched, root / "tmp", root / "home"], root / "witnessed") as witness:
                federation.begin(more=DEBUG, coordinator=DEBUG)
                return _happen(root, federation, witness)
    finally:
        os.umask(umask)


def _happen(root: Path, federation: Watched, witness: DiskWitness) -> Aftermath:
    write_books(root / "books")
    said: dict[str, bytes] = {}

    def typed(name: str, given: str, *words: str) -> bytes:
        said[f"`{name} {' '.join(words)}` {len(said)}"] = told = federation.typed(name, given, *words)
        return told

    books = {name: str(root / "books" / name) for name in ("ash.csv", "birch.parquet", "again.csv", "screened.csv")}
    typed("ash", "", "listings", "publish", books["ash.csv"])  # refused whole
    typed("ash", "", "listings", "publish", books["ash.csv"], "--skip-refused")
    typed("birch", "", "listings", "publish", books["birch.parquet"])
    federation.wait_live(8)
    before = records_of(federation)
    typed("ash", "", "listings", "correct", books["again.csv"])
    federation.change("ash", "dispute", [f"{REFERENCE}-{COMMON}"])
    federation.change("ash", "withdraw", [f"{REFERENCE}-{WITHDRAWN}"])
    federation.wait_live(6)
    for name in federation.nodes:
        federation.sync(name)
    token: str = parsed(federation.at("cedar", "access", "add", "loan-desk", "--role", "query", "--json"))["token"]
    ask(typed, books["screened.csv"], root / "books" / "found.csv")
    said |= dict(shown(federation))
    after = records_of(federation)
    federation.stop()
    withdrawn = next(one for one in before if one.sealed.tag not in {each.sealed.tag for each in after})
    return Aftermath(root, federation, witness, said, token, after, withdrawn)


def ask(typed: Callable[..., bytes], book: str, found: Path) -> None:
    """Ask about persons, rightly and wrongly, and screen a book."""
    terms = ("--purpose", "admission", "--consent", CONSENT)
    for number in (COMMON, ASKED):
        who = person(number)
        typed("cedar", f"resident_id CN {who.resident_id}\nphone CN {who.phone}\n", "signals", "query", *terms)
    typed("cedar", f"resident_id CN {MISTYPED}\n", "signals", "query", *terms)
    typed("cedar", "", "signals", "query", "--purpose", "admission", "--consent", person(ASKED).phone.strip("+"))
    screening = ("--purpose", "portfolio", "--consent", BOOK_CONSENT, "--out", str(found))
    typed("cedar", "", "signals", "screen", book, *screening)


def write_books(folder: Path) -> None:
    """Write what is published and screened."""
    rows = [row("", number) | {"reference": f"{REFERENCE}-{number}"} for number in (LISTED, COMMON, WITHDRAWN)]
    refused = [
        row("", BROKEN) | {"reference": f"{REFERENCE}-a", "resident_id": MISTYPED},
        row("", BROKEN) | {"reference": f"{REFERENCE}-b", "category": "no_such_category"},
    ]
    write(folder / "ash.csv", [*rows, *refused])
    write(folder / "again.csv", [rows[0] | {"severity": "low"}])
    pq.write_table(pa.Table.from_pylist([row("", COMMON) | {"reference": f"{REFERENCE}-x"}]), folder / "birch.parquet")
    people = [{"resident_id": one.resident_id, "phone": one.phone} for one in map(person, (LISTED, COMMON, ASKED))]
    write(folder / "screened.csv", [*people, {"resident_id": MISTYPED, "phone": person(BROKEN).phone}])


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """Write a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def shown(federation: Watched) -> Iterator[tuple[str, bytes]]:
    """Yield what commands show afterwards."""
    for words in ("listings status", "status", "audit list --last 1000", "audit list --last 1000 --json"):
        yield f"`coordinator {words}`", told(federation.coordinator, words)
    for node in federation.nodes.values():
        for words in (
            "listings status",
            "listings sync",
            "listings verify",
            "holder status",
            "access list",
            "status",
            "audit list --last 1000 --json",
        ):
            yield f"`{node.name} {words}`", told(node, words)


def told(daemon: Daemon, words: str) -> bytes:
    """Return what a command says that must end well."""
    ended = jointrisk(daemon.role, "--home", daemon.home, *words.split())
    assert ended.code == 0, ended
    return (ended.out + ended.err).encode()


def records_of(federation: Watched) -> list[Record]:
    """Return what is live in the coordinator's log."""
    with closing(sqlite3.connect(f"file:{federation.coordinator.home / 'state.db'}?mode=ro", uri=True)) as database:
        packed = [one for (one,) in database.execute("SELECT packed FROM listing_segment")]
    found = [record for one in packed for _, record in unpack(one) if record is not None]
    return [Record.from_bytes(one) for one in found]


def person_needles() -> Iterator[Needle]:
    """Yield every form of every marked identifier and reference."""
    for number in (LISTED, COMMON, WITHDRAWN, BROKEN, ASKED):
        who = person(number)
        yield from text_needles(f"a resident's number, of {number}", who.resident_id)
        yield from text_needles(f"a phone number, of {number}", who.phone)
        yield from text_needles(f"a phone number without its country, of {number}", who.phone[-DIGITS:])
    yield from text_needles("a mistyped number", MISTYPED)
    yield from text_needles("a reference", REFERENCE)


def test_everything_happened(aftermath: Aftermath) -> None:
    """What follows would prove little otherwise: entries open, persons were found, rows were refused."""
    keys = {one.tag: one for one in aftermath.opening()}
    labels = [open_sealed(one.sealed, keys[one.sealed.tag]) for one in aftermath.records]
    assert sorted(label.severity.value for label in labels) == ["high"] * 4 + ["low"] * 2
    said = b"\n".join(aftermath.said.values())
    assert said.count(b"checksum") + said.count(b"18") >= 1
    with (aftermath.root / "books" / "found.csv").open(encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [one["row"] for one in found] == ["1", "2", "4"]


def test_no_identifier_or_reference_is_anywhere(aftermath: Aftermath) -> None:
    """In no form, plain hashes included: state of coordinator and nodes, logs, audit logs, errors, file names."""
    assert found_in(aftermath.places(), person_needles()) == []


def test_the_needles_would_be_found(aftermath: Aftermath) -> None:
    """The same search finds them in the lenders' own files; and at their lister they are, under its master key."""
    found = found_in(everything_under(aftermath.root / "books"), person_needles())
    for what in ("a resident's number, of 700001", "a phone number, of 700003", "a mistyped number", "a reference"):
        assert any(one.startswith(what) and "ash.csv" in one for one in found)
    opened = b"".join(rows_opened(aftermath, "ash"))
    assert person(LISTED).resident_id.encode() in opened
    assert REFERENCE.encode() in opened


def rows_opened(aftermath: Aftermath, name: str) -> Iterator[bytes]:
    """Open what a lister keeps of its rows."""
    node, key = aftermath.federation.nodes[name], aftermath.federation.master_key(name)
    with closing(sqlite3.connect(f"file:{node.home / 'state.db'}?mode=ro", uri=True)) as database:
        kept = database.execute("SELECT row_key, sealed FROM listed_row WHERE sealed IS NOT NULL").fetchall()
    for row_key, sealed in kept:
        yield key.open(f"listed-row/{row_key.hex()}", sealed)


def test_no_output_witness_key_or_label_is_anywhere(aftermath: Aftermath) -> None:
    """Neither the outputs nor what follows from them, at anybody's: a stolen copy finds nobody, and opens nothing."""
    places = aftermath.places()
    needles: list[Needle] = []
    for number, (output, keys) in enumerate(zip(aftermath.outputs().values(), aftermath.opening(), strict=True)):
        needles += secret_needles(f"output {number}", output)
        needles += secret_needles(f"sealing key {number}", keys.key)
        needles += byte_needles(f"witness {number}", keys.witness)
    by_tag = {one.tag: one for one in aftermath.opening()}
    for one in (*aftermath.records, aftermath.withdrawn):
        label = open_sealed(one.sealed, by_tag[one.sealed.tag])
        needles += byte_needles("a label", label.to_bytes())
        needles += byte_needles("a pseudonym", label.pseudonym)
    assert found_in(places, needles) == []
    tags = [Needle("a tag", one.sealed.tag) for one in aftermath.records]
    assert found_in(places, tags), "tags are public: the same search finds them"


def test_no_share_secret_or_token_is_anywhere(aftermath: Aftermath) -> None:
    """Key, shares, lister secrets, stamp secret, access token: under a master key, hashed, or not at all."""
    federation = aftermath.federation
    secrets: dict[str, bytes] = {"the group key": bytes(aftermath.key()), "a token": aftermath.token.encode()}
    for name in federation.nodes:
        key = federation.master_key(name)
        secrets[f"{name}'s share"] = bytes(federation.held(name)[1])
        for sealed in column(federation.nodes[name], "SELECT sealed FROM lister_secret"):
            secrets[f"{name}'s lister secret"] = key.open("lister-secret", sealed)
    assert "ash's lister secret" in secrets
    needles = [needle for what, secret in secrets.items() for needle in secret_needles(what, secret)]
    assert found_in(aftermath.places(), needles) == []


def column(daemon: Daemon, statement: str) -> list[bytes]:
    """Return a column of a daemon's database."""
    with closing(sqlite3.connect(f"file:{daemon.home / 'state.db'}?mode=ro", uri=True)) as database:
        return [one for (one,) in database.execute(statement)]


def test_consent_references_stay_with_who_asked(aftermath: Aftermath) -> None:
    """The asker's audit log has them; coordinator and holders have a commitment that only the asker can open."""
    needles = [*text_needles("a consent", CONSENT), *text_needles("a book's consent", BOOK_CONSENT)]
    found = found_in(aftermath.places(), needles)
    assert any("cedar" in one for one in found)
    elsewhere = {name: content for name, content in aftermath.places().items() if "cedar" not in name}
    own_files = {name: content for name, content in elsewhere.items() if "witnessed" not in name}
    assert found_in(own_files, needles) == []


def test_a_withdrawn_record_is_in_no_file_of_the_coordinator(aftermath: Aftermath) -> None:
    """Only its hash is left there."""
    needles = byte_needles("a withdrawn ciphertext", aftermath.withdrawn.sealed.ciphertext)
    assert found_in(everything_under(aftermath.federation.coordinator.home), needles) == []


def test_nothing_is_written_elsewhere(aftermath: Aftermath) -> None:
    """Not in the system's temporary directory, nor in the user's home; not even for a moment."""
    elsewhere = [aftermath.root / "tmp", aftermath.root / "home"]
    assert [path for folder in elsewhere for path in folder.rglob("*")] == []
    assert [path for path in aftermath.witness.modes if not path.startswith(str(aftermath.federation.root))] == []
    assert all(mode & 0o077 == 0 for mode in aftermath.witness.modes.values())
