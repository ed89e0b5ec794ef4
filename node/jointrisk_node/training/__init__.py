"""A node's part in training runs: the stream to the coordinator, the policy's gate, and one killable worker per run.

::

    coordinator <-> Link -- TaskSpool (files) -- Workers <-> worker process (Flower, torch, the lender's rows)
                                                    |
                                                   Gate (run policy, roster, feature contract)

The daemon moves files and decides; it never imports torch or Flower. The worker computes; it has no network of its own
but the lender's database.
"""
