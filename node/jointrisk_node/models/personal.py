"""Personalised models at a node: kept sealed beside the bundles that they belong to.

``models/NAME.personal`` holds the lender's own model and how it is joined with the shared one. It is fitted to the
lender's rows alone, so that it is sealed under the master key, and under the digest of its bundle: it opens for that
bundle and no other.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from jointrisk.errors import CorruptError, NotFoundError
from jointrisk.federation.document import Document
from jointrisk.learning.bundle import Bundle, Number
from jointrisk.learning.local import Local
from jointrisk.learning.personal import Personal
from jointrisk.learning.personal_scorer import PersonalScorer
from jointrisk.learning.scoring import Scorer
from jointrisk.masterkey import MasterKey
from jointrisk.statedir import StateDir

Mark = tuple[int, int, int]
"""Tells one written file from another."""

_FORMAT: Final = 1
_FOLDER: Final = "models"


class _Kept(Document):
    """What is sealed."""

    format: Literal[1] = _FORMAT
    weight: Annotated[Number, Field(ge=0, le=1)]
    scale: Annotated[Number, Field(gt=0)]
    offset: Number
    own: str


class PersonalModels:
    """The personalised models of a state directory. Safe from any thread.

    Args:
        state: the node's state directory.
        master: returns the master key; asked only where something is opened or sealed. Raises JointriskError.
    """

    def __init__(self, state: StateDir, master: Callable[[], MasterKey]) -> None:
        self._state = state
        self._master = master

    def mark(self, model_id: str) -> Mark | None:
        """Return what changes with every personalisation of a model; None where there is none. Reads no content."""
        return personal_mark(self._state.path(_FOLDER), model_id)

    def keep(self, bundle: Bundle, personal: Personal, own: Local) -> None:
        """Keep a personalised model in the place of the one before; when this returns, it is on the disk.

        Args:
            bundle: the shared model.
            personal: how the two are joined.
            own: the lender's own.

        Raises:
            JointriskError: there is no master key.
        """
        kept = _Kept(weight=personal.weight, scale=personal.scale, offset=personal.offset, own=own.to_text())
        self._state.write(_file(bundle.manifest.model_id), self._master().seal(_purpose(bundle), kept.payload()))

    def remove(self, model_id: str) -> None:
        """Forget a personalised model, if there is one."""
        self._state.remove(_file(model_id))

    def scorer(self, bundle: Bundle) -> Scorer:
        """Return what scores with a model: a `PersonalScorer` where it is personalised, else the shared one's.

        Raises:
            CorruptError: what is kept is not what was written, or is of another model.
            JointriskError: there is no master key; or as `Scorer.from_bundle`.
        """
        shared = Scorer.from_bundle(bundle)
        try:
            sealed = self._state.read(_file(bundle.manifest.model_id))
        except NotFoundError:
            return shared
        kept = _opened(self._master(), bundle, sealed)
        return PersonalScorer(Personal(kept.weight, kept.scale, kept.offset), shared, Local.from_text(kept.own))


def personal_mark(folder: Path, model_id: str) -> Mark | None:
    """Return what changes with every personalisation of a model; None where there is none.

    Args:
        folder: where bundles lie.
        model_id: the model's whole name.
    """
    try:
        found = (folder / f"{model_id}.personal").stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _opened(master: MasterKey, bundle: Bundle, sealed: bytes) -> _Kept:
    try:
        return _Kept.model_validate_json(master.open(_purpose(bundle), sealed))
    except (CorruptError, ValidationError):
        # Not chained: what is inside is the lender's own.
        raise CorruptError(
            f"the personalised model of {bundle.manifest.model_id} is not what was written, or is of another model",
            remedy="Make it anew: `jointrisk node models personalise`; or without it: the same with --remove.",
        ) from None


def _file(model_id: str) -> str:
    return f"{_FOLDER}/{model_id}.personal"


def _purpose(bundle: Bundle) -> str:
    return f"personal model {bundle.digest}"
