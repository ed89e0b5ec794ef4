"""The personalised stage: the shared model and one of the lender's own, weighed on rows that neither was fitted on.

Validation rows are those that runs hold out. The choice is made with an own model of the other rows; the one that is
kept is fitted on all. What a mix is worth is told by folds within the validation rows, each scored by a choice of the
others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning import personal, scoring
from jointrisk.learning.areas import area
from jointrisk.learning.bundle import Bundle, Facts
from jointrisk.learning.encoding import with_buckets
from jointrisk.learning.local import Local
from jointrisk.learning.personal import Floats, Labels, Personal
from jointrisk.learning.tasks import MemberData
from jointrisk.learning.tasks.settings import DefaultModelSettings
from jointrisk.learning.validation import held_out
from jointrisk_node.data import DataSettings, LoanBook

FEWEST: Final = personal.FOLDS
"""Good, and bad, validation rows that a choice needs at least: one a fold."""

_SEED = 1


@dataclass(frozen=True)
class Figures:
    """How well a model does on the validation rows.

    Attributes:
        log_loss: mean.
        auc: area under the ROC curve.
        auc_error: its standard error (DeLong).
    """

    log_loss: float
    auc: float
    auc_error: float


@dataclass(frozen=True)
class Outcome:
    """What was chosen, and from what.

    Attributes:
        personal: how the lender scores best; `jointrisk.learning.personal.SHARED` where the shared model as it is does.
        own: the lender's own model, of all rows; None where it has no part in it.
        rows: of the loan book.
        validation_rows: how many of them decided.
        figures: of "shared", "own" and "personalised", on the validation rows. Own: fitted on the others. Personalised:
            what was chosen; of a mix, each fold by a choice of the others.
    """

    personal: Personal
    own: Local | None
    rows: int
    validation_rows: int
    figures: Mapping[str, Figures]

    @property
    def kept(self) -> str:
        """What scores: "shared", "own" or "mix"."""
        return "shared" if self.own is None else "own" if self.personal == personal.ALONE else "mix"


def own_rows(contract: FeatureContract, settings: DataSettings) -> MemberData:
    """Read the lender's own rows, as runs see them.

    Raises:
        DataBreachError: they break the contract.
        InvalidInputError, NotFoundError: they cannot be read.
    """
    table = LoanBook.open(settings).arrays(contract)
    return MemberData(with_buckets(contract, table.features, table.vocabularies), table.labels)


def personalise(bundle: Bundle, contract: FeatureContract, book: MemberData) -> Outcome:
    """Choose, then fit the own model on all rows. The same again gives the same.

    Args:
        bundle: the shared model.
        contract: its contract.
        book: the lender's rows, in the order in which runs see them.

    Raises:
        InvalidInputError: there are too few validation rows.
        CorruptError: the bundle says nonsense of what it held out.
        VersionMismatchError: it is of an architecture that this software does not know.
    """
    out = held_out(len(book.labels), validation_share(bundle.manifest.facts))
    labels = book.labels[out]
    _require_both(labels)
    shared = scoring.picked_scorer(bundle).log_odds(book.features[out])
    own = Local.fit(contract, _part(book, ~out), _SEED).log_odds(book.features[out])
    chosen, worth = _choice(shared, own, labels)
    return Outcome(
        chosen,
        None if chosen == personal.SHARED else Local.fit(contract, book, _SEED),
        len(book.labels),
        len(labels),
        {
            name: _figures(log_odds, labels)
            for name, log_odds in (("shared", shared), ("own", own), ("personalised", worth))
        },
    )


def validation_share(facts: Facts) -> float:
    """Return the share of rows that the model's run held out; the usual one where the bundle does not say.

    Raises:
        CorruptError: what it says is no share.
    """
    share = facts.settings.get("held_out", DefaultModelSettings().held_out)
    if not isinstance(share, float) or not 0 < share < 1:
        raise CorruptError(
            "expected a share of rows that the model's run held out, between 0 and 1, got something else"
        )
    return share


def _choice(shared: Floats, own: Floats, labels: Labels) -> tuple[Personal, Floats]:
    """Return how to score, and the log odds by which it is judged; the shared model stays where nothing is better."""
    chosen = personal.choose(shared, own, labels)
    worth = own if chosen == personal.ALONE else personal.unseen(shared, own, labels)
    if personal.log_loss(shared, labels) <= personal.log_loss(worth, labels):
        return personal.SHARED, shared
    return chosen, worth


def _require_both(labels: Labels) -> None:
    bad = int(labels.sum())
    if min(bad, len(labels) - bad) < FEWEST:
        raise InvalidInputError(
            f"expected at least {FEWEST} good and {FEWEST} bad loans among the validation rows, "
            f"got {len(labels) - bad} and {bad}",
            remedy="The loan book is too small to choose by; score with the shared model as it is.",
        )


def _part(book: MemberData, rows: NDArray[np.bool_]) -> MemberData:
    return MemberData(book.features[rows], book.labels[rows])


def _figures(log_odds: Floats, labels: Labels) -> Figures:
    found = area(labels, log_odds)
    return Figures(personal.log_loss(log_odds, labels), found.value, found.error)
