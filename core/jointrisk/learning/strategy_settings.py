"""The strategies that a run can name, and their settings. Light: imported where Flower is not."""

from typing import Any, cast

from pydantic import Field, create_model

from jointrisk.errors import InvalidInputError
from jointrisk.settings import Settings, validated


class FedAvgSettings(Settings):
    """Federated averaging (McMahan et al. 2017): the mean of the members' arrays. Has no settings."""


class FedProxSettings(Settings):
    """FedAvg with a proximal term at the members (Li et al. 2020)."""

    proximal_mu: float = Field(
        0.01, ge=0, description="Weight of the squared distance from the round's arrays; holds members together."
    )


class FedAdamSettings(Settings):
    """Adam at the coordinator on the mean change of a round (Reddi et al. 2021)."""

    eta: float = Field(0.01, gt=0, description="The coordinator's learning rate.")
    beta_1: float = Field(0.9, ge=0, lt=1, description="Decay of the first moment.")
    beta_2: float = Field(0.99, ge=0, lt=1, description="Decay of the second moment.")
    tau: float = Field(1e-3, gt=0, description="Keeps the denominator away from zero.")


STRATEGIES: dict[str, type[Settings]] = {
    "fedavg": FedAvgSettings,
    "fedprox": FedProxSettings,
    "fedadam": FedAdamSettings,
}
"""Name to settings."""


def strategy_settings(name: str, values: dict[str, Any]) -> Settings:
    """Return a strategy's settings, checked.

    Raises:
        InvalidInputError: there is no such strategy, or it has no such setting.
    """
    return checked("strategy", STRATEGIES, name, values)


def checked(what: str, models: dict[str, type[Settings]], name: str, values: dict[str, Any]) -> Settings:
    """Return ``values`` as the settings of the thing that is named.

    Args:
        what: "strategy" or "task", for messages.
        models: name to settings.
        name: which.
        values: what the run's settings say.

    Raises:
        InvalidInputError: there is no such thing, or it has no such setting.
    """
    if name not in models:
        raise InvalidInputError(f'{what}: expected one of {", ".join(sorted(models))}, got "{name}"')
    # Under the key that it has in the run settings, so that a message names that.
    key = f"{what}_settings"
    holder = create_model("Holder", __base__=Settings, **{key: (models[name], ...)})  # type: ignore[call-overload]
    return cast("Settings", getattr(validated({key: values}, holder, f"run settings for {name}"), key))
