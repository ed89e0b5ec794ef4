"""Strategies by name, and their server-side state for checkpoints."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import InvalidInputError
from jointrisk.learning.flower import ArrayRecord, FedAdam, FedAvg, FedProx, pack, values
from jointrisk.learning.strategy_settings import strategy_settings

Arrays = dict[str, NDArray[np.generic]]
_CLASSES: dict[str, type[FedAvg]] = {"fedavg": FedAvg, "fedprox": FedProx, "fedadam": FedAdam}
_MOMENTS = ("m_t", "v_t")


def make_strategy(name: str, settings: dict[str, Any], participants: int) -> FedAvg:
    """Return a strategy that always asks every participant.

    Flower's strategies draw a sample of the nodes and wait until so many are connected; here the participants are fixed
    and waiting is the round loop's, so the sample is all of them.

    Args:
        name: "fedavg", "fedprox" or "fedadam".
        settings: its settings.
        participants: how many members take part in the run.

    Raises:
        InvalidInputError: no such strategy or setting.
    """
    arguments: dict[str, Any] = strategy_settings(name, settings).model_dump()
    for what in ("train", "evaluate", "available"):
        arguments[f"min_{what}_nodes"] = participants
    return _CLASSES[name](**arguments)


def server_state(strategy: FedAvg) -> Arrays:
    """Return what a strategy remembers from round to round, as named arrays; empty where it remembers nothing."""
    state: Arrays = {}
    for moment in _MOMENTS:
        for name, value in (getattr(strategy, moment, None) or {}).items():
            state[f"{moment}/{name}"] = value
    return state


def restore_server_state(strategy: FedAvg, state: Mapping[str, NDArray[np.generic]]) -> None:
    """Give a strategy back what :func:`server_state` returned.

    Raises:
        InvalidInputError: the strategy has no such state.
    """
    moments: dict[str, Arrays] = {}
    for key, value in state.items():
        moment, _, name = key.partition("/")
        if moment not in _MOMENTS or not hasattr(strategy, moment):
            raise InvalidInputError(f"checkpoint: state of another strategy than {type(strategy).__name__}")
        moments.setdefault(moment, {})[name] = value
    for moment, arrays in moments.items():
        setattr(strategy, moment, arrays)


def typed_like(arrays: ArrayRecord, pattern: ArrayRecord) -> ArrayRecord:
    """Return ``arrays`` in the types of ``pattern``: FedAdam's step size is a float64, which widens float32 arrays."""
    if all(array.dtype == pattern[name].dtype for name, array in arrays.items()):
        return arrays
    return ArrayRecord({name: pack(values(array).astype(pattern[name].dtype)) for name, array in arrays.items()})
