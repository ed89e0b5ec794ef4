"""Evaluating for other members: what a holder of a share does with it, within quotas, on record.

::

    asker --- Evaluate ---> EvaluationServicer   (mutual TLS; `peer_server`, `callers`)
                            EvaluationDesk       checks (`checks`), then at the same time
                              ChargeWriter       charge, binding and journal, one fsync (`charges`, `quota`)
                              Evaluator          online at once, bulk in slices behind it (`computing`)
          <- signed answer  when both are done

docs/protocol.md, section 5, is the normative text.
"""

from jointrisk_node.evaluations.callers import Callers
from jointrisk_node.evaluations.charges import ChargeBook
from jointrisk_node.evaluations.charging import ChargeWriter
from jointrisk_node.evaluations.computing import Evaluator
from jointrisk_node.evaluations.desk import EvaluationDesk, Heads
from jointrisk_node.evaluations.quota import Allowance
from jointrisk_node.evaluations.reconciling import Reconciliation
from jointrisk_node.evaluations.settings import HolderSettings, QuotaSettings
from jointrisk_node.evaluations.shares import HeldShares

__all__ = [
    "Allowance",
    "Callers",
    "ChargeBook",
    "ChargeWriter",
    "EvaluationDesk",
    "Evaluator",
    "Heads",
    "HeldShares",
    "HolderSettings",
    "QuotaSettings",
    "Reconciliation",
]
