"""Secure sums in runs: what `secure_aggregation` computes, behind the seam and before a member's client app.

The coordinator has `SecureAggregation` where it would have a plain one; a member has `SecureMod`, a Flower mod, before
its client app. Both are pure: sending is the cohort's, keeping is the notebook's and the ledger's.
"""

from jointrisk.learning.secure_runs.content import WIRE_PREFIX, Asked, is_secure, wire_kind
from jointrisk.learning.secure_runs.member import Keeping, Kept, Ledger, SecureMod, asked_kind
from jointrisk.learning.secure_runs.notes import Note, Notebook
from jointrisk.learning.secure_runs.rounds import SecureAggregation
from jointrisk.learning.secure_runs.sitting import Sitting

__all__ = [
    "WIRE_PREFIX",
    "Asked",
    "Keeping",
    "Kept",
    "Ledger",
    "Note",
    "Notebook",
    "SecureAggregation",
    "SecureMod",
    "Sitting",
    "asked_kind",
    "is_secure",
    "wire_kind",
]
