"""Text that a peer has written and people read: in a terminal, a log, a database."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def printable(text: str, longest: int) -> str:
    """Return a peer's text as it can be shown and stored anywhere.

    White space becomes spaces; what moves a cursor, rings a bell, reverses a line, or cannot be stored (NUL) is
    replaced: nobody at the other end draws on our operator's terminal.

    Args:
        text: as it came.
        longest: how many characters are kept.
    """
    return "".join(_shown(character) for character in text[:longest])


def _shown(character: str) -> str:
    if character.isspace():
        return " "
    return character if character.isprintable() else _REPLACEMENT
