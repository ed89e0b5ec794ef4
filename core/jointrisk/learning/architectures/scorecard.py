"""The scorecard: logistic regression on the encoding. Every bin of a feature has its weight; the score is their sum."""

from jointrisk.learning.architectures.ensemble import Plan
from jointrisk.learning.tasks.settings import DefaultModelSettings

# By federated validation over 16 rounds of three unlike lenders: 0.01 is still far from done, 0.2 is no better.
learning_rate = 0.1
weight_decay = 0.01
steps = 50


def plan(settings: DefaultModelSettings) -> Plan:
    """Return the one layer; there is nothing random about it that several networks would average out."""
    del settings
    return Plan(1, (), 0.0)
