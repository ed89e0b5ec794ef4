"""What this lender has listed: published, withdrawn, corrected, renewed, disputed, checked in the coordinator's log.

    file -> rows -> evaluated -> sealed -> stored -> appended -> acknowledged -> released -> found in the replica

Everything is durable before it leaves the node, and what is durable is carried out by the daemon, whoever is down at
the moment. Identifiers are kept sealed under the master key, so that a rotation of the group key publishes by itself,
and a withdrawal needs no file; keys of entries are never kept.

Modules: `rows` (what a file's row says), `secret` (row keys, pseudonyms, sealing), `ledger` (what is durable),
`publishing` (evaluates and stores), `delivery` (tells the coordinator), `upkeep` (renews, publishes again after a
rotation), `witnessing` (checks of docs/protocol.md, 4.7), `desk` (all of it, for the operator).
"""
