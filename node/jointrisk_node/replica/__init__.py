"""This node's copy of the log of listings, so that nobody learns what is looked up.

Everything that comes from the coordinator is verified before it is served (docs/protocol.md, section 4.6): heads by the
pinned key, entries by the chain, missing records by the marks that justify them. `ReplicaDesk` is what others use.

Modules: `desk` (all epochs), `stock` (one of them), `replica` (its lookups), `syncing` (fetching), `intake`
(verifying), `settling` and `gathering` (indexing, then serving), `chain` (the chain's fast form), `disk` (LMDB),
`shelf` (folders, taking over), `verifying` (the whole disk), `forks` (comparing heads), `source` and
`coordinator_source` (where it comes from), `service` (operator).
"""
