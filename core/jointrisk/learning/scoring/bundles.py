"""The scorer of a model bundle, by the architecture that it names."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from jointrisk.canonical import canonical_json
from jointrisk.errors import CorruptError, VersionMismatchError
from jointrisk.learning.bundle import Arrays, Bundle
from jointrisk.learning.encoding import Encoding
from jointrisk.learning.means import usable
from jointrisk.learning.scoring.blends import BlendScorer
from jointrisk.learning.scoring.forests import TreeScorer, forest_of
from jointrisk.learning.scoring.networks import NetworkScorer, networks_of
from jointrisk.learning.scoring.pairs import PairScorer, pair_networks_of
from jointrisk.learning.scoring.parts import PICKED, arrays_by_part, of_all_rows, parts_of, under
from jointrisk.learning.scoring.scorer import Scorer

_Said = Mapping[str, Any]


def scorer_of(encoding: Encoding, architecture: str, settings: _Said, arrays: Arrays) -> Scorer:
    """Return the scorer of a model.

    Args:
        encoding: how rows become inputs.
        architecture: the name of what the arrays are.
        settings: the architecture's, as a bundle has them.
        arrays: all of them.

    Raises:
        VersionMismatchError: it is of an architecture that this software does not know.
        CorruptError: its parts do not fit each other.
    """
    make = _MAKERS.get(architecture)
    if make is None:
        raise _unknown()
    return make(encoding, settings, arrays)


def scorer_of_bundle(bundle: Bundle) -> Scorer:
    """Return the scorer of a verified bundle; see `Scorer.from_bundle`."""
    return _of_facts(bundle, of_all_rows(bundle.arrays))


def picked_scorer(bundle: Bundle) -> Scorer:
    """Return the scorer of the model as validation chose it, which has not seen the validation rows.

    That is the usual one, where a bundle holds no second one.

    Raises:
        VersionMismatchError: it is of an architecture that this software does not know.
        CorruptError: its parts do not fit each other.
    """
    return _of_facts(bundle, under(PICKED, bundle.arrays) or bundle.arrays)


def _of_facts(bundle: Bundle, arrays: Arrays) -> Scorer:
    facts = bundle.manifest.facts
    return scorer_of(Encoding.from_payload(canonical_json(facts.encoding)), facts.architecture, facts.settings, arrays)


def _networks(encoding: Encoding, settings: _Said, arrays: Arrays) -> Scorer:
    average = settings.get("average", "log odds")
    if average not in {"log odds", "probability"}:
        raise _unknown()
    return NetworkScorer(encoding, networks_of(arrays), average, _means(encoding, settings))


def _pairs(encoding: Encoding, settings: _Said, arrays: Arrays) -> Scorer:
    return PairScorer(encoding, pair_networks_of(arrays), _means(encoding, settings))


def _trees(encoding: Encoding, settings: _Said, arrays: Arrays) -> Scorer:
    del settings
    return TreeScorer(encoding, forest_of(encoding, arrays))


def _blend(encoding: Encoding, settings: _Said, arrays: Arrays) -> Scorer:
    parts = parts_of(settings)
    if any(part.architecture == "blend" for part in parts):
        raise CorruptError("expected a blend of single models, got one of blends")
    each = zip(parts, arrays_by_part(parts, arrays), strict=True)
    scorers = [scorer_of(encoding, part.architecture, part.settings, own) for part, own in each]
    return BlendScorer(encoding, scorers, [part.weight for part in parts])


_MAKERS: Final[Mapping[str, Callable[[Encoding, _Said, Arrays], Scorer]]] = {
    "mlp": _networks,
    "scorecard": _networks,
    "ga2m": _pairs,
    "trees": _trees,
    "blend": _blend,
}

ARCHITECTURES: Final = tuple(_MAKERS)
"""What can be scored here."""


def _means(encoding: Encoding, settings: _Said) -> NDArray[np.float64] | None:
    """Return the means of the inputs; None where a model of before them is read."""
    if "means" not in settings:
        return None
    means = usable(settings["means"], encoding.width)
    if means is None:
        raise CorruptError("expected the mean of every input in the model bundle, got something else")
    return means


def _unknown() -> VersionMismatchError:
    return VersionMismatchError(
        f"expected a model of one of the architectures {', '.join(ARCHITECTURES)}, got another one",
        remedy="Install the version of jointrisk that the coordinator runs.",
    )
