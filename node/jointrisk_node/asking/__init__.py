"""Asking holders: from identifiers to the keys of their listings.

`Asker` blinds identifiers, asks as many holders as the threshold says, verifies what they answer, and derives the keys.
A holder that is down, slow, refuses or lies is replaced by another one with the same blinded elements. The asker's own
share, where this node holds one, is always one of those that are used.

Modules: `asker` (what others call), `course` (one batch, quorum after quorum), `turn` (one batch and one quorum),
`generations` (keys of the ceremonies), `standing` (who failed, and until when it is avoided), `channels` (gRPC),
`ledger` and `tables` (evidence against holders), `heads` (what is needed of the replica), `outcome` (results and
errors), `settings`.
"""

from jointrisk_node.asking.asker import Asker
from jointrisk_node.asking.channels import PeerChannels
from jointrisk_node.asking.generations import Generations
from jointrisk_node.asking.heads import Heads
from jointrisk_node.asking.ledger import EvidenceLedger, FalseAnswer
from jointrisk_node.asking.outcome import Blame, Consent, Evaluated
from jointrisk_node.asking.settings import AskingSettings

__all__ = [
    "Asker",
    "AskingSettings",
    "Blame",
    "Consent",
    "Evaluated",
    "EvidenceLedger",
    "FalseAnswer",
    "Generations",
    "Heads",
    "PeerChannels",
]
