"""The loan book in a lender's own PostgreSQL: the same checks, run over what a real server streams."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from contract_sample import LABEL, sample_contract
from jointrisk.errors import InvalidInputError, NotFoundError, UnauthenticatedError, UnavailableError
from jointrisk_node.data import DataSettings, LoanBook, Rule
from postgres import PASSWORD, private_postgres

_ROWS = 150_000
_TABLE = f"""
CREATE TABLE loans AS SELECT
  i AS id,
  CASE WHEN i % 10 = 0 THEN NULL ELSE (i % 5000)::numeric(9, 2) END AS income,
  (ARRAY['car', 'home', 'it''s other'])[i % 3 + 1] AS purpose,
  'b' || i % 7 AS branch,
  i % 2 = 0 AS has_phone,
  (i % 11 = 0)::int AS {LABEL},
  'Zhang' || i AS customer
FROM generate_series(1, {_ROWS}) AS i
"""  # noqa: S608 - figures of this file


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a server with a table of loans."""
    with private_postgres() as url:
        with psycopg.connect(url) as connection:
            connection.execute(_TABLE)
        yield url


def test_a_table_that_keeps_the_contract_has_no_breach(server: str) -> None:
    """Numeric, boolean and text columns of the server are read as they are meant."""
    report = LoanBook.open(DataSettings(source=server)).check(sample_contract())
    assert (report.rows, report.breaches) == (_ROWS, ())


def test_breaches_are_counted_by_the_rows_of_the_query(server: str) -> None:
    """The server runs the lender's query; the rows of its result are what is numbered."""
    query = "SELECT *, income - 10 AS less FROM loans WHERE id <= 30 ORDER BY id DESC"
    mapped = f"SELECT less AS income, purpose, branch, has_phone, {LABEL} FROM ({query}) AS x"  # noqa: S608
    report = LoanBook.open(DataSettings(source=server, query=mapped)).check(sample_contract())
    assert [(b.column, b.rule, b.count, b.row) for b in report.breaches] == [("income", Rule.OUT_OF_RANGE, 9, 22)]


def test_arrays_keep_the_order_of_the_rows(server: str) -> None:
    """Two readings give the same rows in the same order."""
    book = LoanBook.open(DataSettings(source=server, query="SELECT * FROM loans ORDER BY id"))
    first, again = book.arrays(sample_contract()), book.arrays(sample_contract())
    assert first.features.tobytes() == again.features.tobytes()
    assert first.features[:4, 1].tolist() == [1, 2, 0, 1]
    assert first.features[4999, 0] != first.features[4998, 0]
    assert first.labels.sum() == _ROWS // 11


def test_the_server_is_only_read(server: str) -> None:
    """A query that would change the lender's data is refused by the server itself."""
    with psycopg.connect(server) as connection:
        connection.execute(
            "CREATE OR REPLACE FUNCTION wipe() RETURNS int LANGUAGE sql AS 'DELETE FROM loans RETURNING 1'"
        )
    with pytest.raises(InvalidInputError):
        LoanBook.open(DataSettings(source=server, query="SELECT wipe() AS income")).check(sample_contract())
    with psycopg.connect(server) as connection:
        row = connection.execute("SELECT count(*) FROM loans").fetchone()
    assert row == (_ROWS,)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT wage FROM loans", 'column "wage" does not exist'),
        ("SELECT * FROM clients", 'relation "clients" does not exist'),
        ("SELEKT 1", "syntax error"),
        ("SELECT customer::int AS income FROM loans", "SQLSTATE 22P02|to its end"),
        ("SELECT 1 / (id - 140000) AS income FROM loans", "SQLSTATE 22012|to its end"),
    ],
)
def test_a_query_that_cannot_run_is_said_without_any_value(server: str, query: str, said: str) -> None:
    """Words of the query are repeated, cells are not; what fails after 100,000 rows fails as well."""
    with pytest.raises(InvalidInputError, match=said) as caught:
        LoanBook.open(DataSettings(source=server, query=query)).check(sample_contract())
    assert "Zhang" not in f"{caught.value} {caught.value.__cause__}"
    assert PASSWORD not in f"{caught.value}"


def test_wrong_passwords_and_places_are_told_apart(server: str) -> None:
    """Each failure says what to do, and none shows the password."""
    cases = [
        (server.replace(PASSWORD, "wrong-one"), UnauthenticatedError),
        (server.replace("/postgres", "/nosuch"), NotFoundError),
        ("postgresql://jointrisk:wrong-one@127.0.0.1:1/postgres", UnavailableError),
    ]
    for source, expected in cases:
        with pytest.raises(expected) as caught:
            LoanBook.open(DataSettings(source=source)).check(sample_contract())
        assert caught.value.remedy
        assert not {"wrong-one", PASSWORD} & set(f"{caught.value} {caught.value.__cause__}".replace(":", " ").split())


def test_the_password_comes_from_a_passfile(server: str, tmp_path: Path) -> None:
    """The address needs no password: a file that only its owner can read has it."""
    passfile = tmp_path / "my pass"
    passfile.write_text(f"127.0.0.1:*:*:jointrisk:{PASSWORD}\n")
    passfile.chmod(0o600)
    source = server.replace(f":{PASSWORD}", "")
    report = LoanBook.open(DataSettings(source=source, passfile=str(passfile))).check(sample_contract())
    assert report.ok
    with pytest.raises(UnauthenticatedError):
        LoanBook.open(DataSettings(source=source, passfile=str(tmp_path / "none"))).check(sample_contract())
