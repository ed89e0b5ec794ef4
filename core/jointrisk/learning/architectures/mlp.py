"""Networks with hidden layers: a few, side by side from different beginnings, whose log odds are averaged."""

from jointrisk.learning.architectures.ensemble import Plan
from jointrisk.learning.tasks.settings import DefaultModelSettings

learning_rate = 2e-3
weight_decay = 0.01
steps = 50


def plan(settings: DefaultModelSettings) -> Plan:
    """Return the layers."""
    return Plan(settings.networks, (settings.hidden,) * settings.layers, settings.dropout)
