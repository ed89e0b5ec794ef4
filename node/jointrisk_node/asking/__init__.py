"""Asking holders: from identifiers to the keys of their listings.

`Asker` blinds identifiers, asks as many holders as the threshold says, verifies what they answer, and derives the keys.
A holder that is down, slow, refuses or lies is replaced by another one with the same blinded elements. The asker's own
share, where this node holds one, is always one of those that are used.

Modules: `asker` (what others call), `course` (one batch, quorum after quorum), `turn` (one batch and one quorum),
`generations` (keys of the ceremonies), `standing` (who failed, and until when it is avoided), `channels` (gRPC),
`ledger` and `tables` (evidence against holders), `heads` (what is needed of the replica), `outcome` (results and
errors), `settings`.
"""
