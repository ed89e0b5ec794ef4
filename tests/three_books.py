"""Three lenders' books under the sample contract, large enough for leaves of two hundred rows."""

import numpy as np

from contract_sample import sample_contract
from jointrisk.learning.tasks import MemberData

CONTRACT = sample_contract(minimum_rows=4)
LENDERS = ("alder", "birch", "cedar")


class Killed(BaseException):
    """The worker process is gone."""


def book(count: int = 700, seed: int = 1) -> MemberData:
    """Return rows under the sample contract whose risk falls with income and depends on the purpose."""
    rng = np.random.default_rng(seed)
    income, purpose = rng.lognormal(10, 0.7, count), rng.integers(0, 3, count)
    phone, branch = rng.integers(0, 2, count), rng.integers(0, 40, count)
    odds = 1.5 * (10 - np.log(income)) + np.where(purpose == 1, 1.5, -1) + phone * (purpose == 0) - 1
    rows = np.stack([income, purpose, branch, phone], axis=1).astype(np.float32)
    rows[rng.random(count) < 0.1, 0] = np.nan
    return MemberData(rows, (rng.random(count) < 1 / (1 + np.exp(-odds))).astype(np.uint8))


BOOKS = {name: book(seed=place) for place, name in enumerate(LENDERS)}
