"""Identifiers of persons and firms, in the one form that all members compute.

Two members find each other's listings only when both write the same bytes for the same identifier, so the rules are
strict: what is ambiguous is refused, never guessed, and a refusal is an error, never "not found". The rules are
versioned (``CANONICALISATION``); docs/identifiers.md explains each kind, tests/unit/test_identifiers.py pins bytes.

The text of an identifier is in no error, log or ``repr``.
"""

from jointrisk.identifiers.canonical import canonicalise
from jointrisk.identifiers.identifier import CANONICALISATION, Identifier, Kind
from jointrisk.identifiers.rules import Rule

__all__ = ["CANONICALISATION", "Identifier", "Kind", "Rule", "canonicalise"]
