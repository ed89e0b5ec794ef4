"""Evaluating for other members: what a holder of a share does with it, within quotas, on record.

::

    asker --- Evaluate ---> EvaluationServicer   (mutual TLS; `peer_server`, `callers`)
                            EvaluationDesk       checks (`checks`), then at the same time
                              ChargeWriter       charge, binding and journal, one fsync (`charges`, `quota`)
                              Evaluator          online at once, bulk in slices behind it (`computing`)
          <- signed answer  when both are done

docs/protocol.md, section 5, is the normative text.
"""
