"""Signals: what is listed about a person, and in how many lenders' books the person is. docs/signals.md.

    person's identifiers ---> canonical forms ---> one evaluation an epoch (`jointrisk_node.asking`)
         entries of the replica under each tag ---> opened ---> composed (`answer`) ---> told, never kept

Modules: `person` (identifiers as they come in), `answer` and `lenders` (what entries say together; pure), `desk`
(asks), `access` and `ledger` (who of the lender's own systems may ask), `service` and `listening` (gRPC), `book` and
`screening` (files of persons), `settings`.

Warnings:
- Identifiers, tags and answers are in no log, audit record, error or file name, and no `repr`.
- What cannot be asked is an error. "Nothing is listed" is said only where every epoch that is served was asked with
  every identifier, against a replica that is fresh.
"""

from jointrisk_node.signals.settings import SignalSettings

__all__ = ["SignalSettings"]
