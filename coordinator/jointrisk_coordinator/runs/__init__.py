"""Training runs: the members' streams, the durable course of each run, and the worker process that computes it.

::

    node stream <-> Session -- TicketBook -- RunControl <-> worker process (Grid, round loop, torch)
                       |                         |
                      Hub (who is online)     RunLedger (the database: what is complete)

The daemon moves files and commits rows; it never imports torch or Flower. The worker computes; it has neither database
nor network.
"""
