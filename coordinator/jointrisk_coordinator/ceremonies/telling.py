"""How a ceremony ended, in words for the operator and the audit log."""

from jointrisk.oprf.ceremony import Outcome, Terms

LONGEST_DETAIL = 500
"""Characters of its column: PostgreSQL takes no more. Many parties with long names need more than that."""


def told(terms: Terms, outcome: Outcome | None) -> str:
    """Say how a ceremony ended, in at most `LONGEST_DETAIL` characters; an empty text while it goes on."""
    text = "" if outcome is None else _told(terms, outcome)
    return text if len(text) <= LONGEST_DETAIL else f"{text[: LONGEST_DETAIL - 3]}..."


def _told(terms: Terms, outcome: Outcome) -> str:
    guilty = f"proven to have broken the rules: {', '.join(outcome.guilty)}" if outcome.guilty else ""
    if outcome.is_committed:
        stored = f"{len(outcome.confirmed)} of {len(terms.holders)} holders have stored their share"
        return f"{stored}; {guilty}" if guilty else stored
    if guilty:
        return guilty
    reason = outcome.reason.name.lower() if outcome.reason else "refused"
    waited = f", waited for {', '.join(outcome.missing)}" if outcome.missing else ""
    return f"given up ({reason}) by {', '.join(outcome.refused)}{waited}; nobody is accused"
