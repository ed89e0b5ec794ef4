"""A node's settings file, node.toml in its state directory."""

from datetime import timedelta

from pydantic import Field

from jointrisk.federation.policy import RunPolicy
from jointrisk.logs import LogSettings
from jointrisk.settings import Duration, Settings, load_toml
from jointrisk.statedir import StateDir
from jointrisk_node.asking.settings import AskingSettings
from jointrisk_node.data import DataSettings
from jointrisk_node.evaluations.settings import HolderSettings
from jointrisk_node.listings.settings import ListingsSettings
from jointrisk_node.replica.settings import ReplicaSettings
from jointrisk_node.scoring import ScoringSettings
from jointrisk_node.signals import SignalSettings


class MembershipSettings(Settings):
    """How this node keeps up with the federation."""

    roster_poll: Duration = Field(
        timedelta(seconds=30), description="How often the roster is asked for; a change is announced at once as well."
    )


class CeremonySettings(Settings):
    """Key ceremonies."""

    approve_all: bool = Field(
        default=False,
        description="Take part in every key ceremony whose terms keep the rules, without asking a person. For "
        "federations that are tests: whoever runs the coordinator then decides who holds the key.",
    )
    confirmations: Duration = Field(
        timedelta(days=7),
        description="How long after a ceremony all new holders are waited for before old shares are deleted; then "
        "confirmations of one more than the threshold are enough.",
    )


class StoreSettings(Settings):
    """The database."""

    url: str = Field("", description="PostgreSQL URL (postgresql+psycopg://...); empty: SQLite in the state directory.")


class NodeSettings(Settings):
    """Everything in node.toml."""

    data: DataSettings = Field(default_factory=DataSettings)
    policy: RunPolicy = Field(default_factory=RunPolicy)
    scoring: ScoringSettings = ScoringSettings()
    membership: MembershipSettings = MembershipSettings()
    ceremonies: CeremonySettings = CeremonySettings()
    listings: ListingsSettings = ListingsSettings()
    holder: HolderSettings = HolderSettings()
    asking: AskingSettings = AskingSettings()
    replica: ReplicaSettings = ReplicaSettings()
    signals: SignalSettings = SignalSettings()
    store: StoreSettings = StoreSettings()
    log: LogSettings = LogSettings()


def load_settings(state: StateDir) -> NodeSettings:
    """Read the settings file of a state directory.

    Raises:
        InvalidInputError: a key is unknown, missing or breaks its rule.
    """
    return load_toml(state.path(FILE), NodeSettings)


FILE = "node.toml"
TEMPLATE = """\
# A jointrisk node. Every key: docs/configuration.md

[data]
# The loan book: a Parquet or CSV file, a pattern, or postgresql://HOST/DATABASE (password: ~/.pgpass).
source = "{source}"
# What to read of it; the file is the view `loans`. Columns are named as in the federation's feature contract.
query = "SELECT * FROM loans"

[policy]
# Which training runs this node takes part in, without asking a person each time.
tasks = ["default_model", "probe"]
# Never in a run with fewer members than this.
minimum_parties = 3
"""
