"""Generate docs/cli.md and docs/configuration.md (``make docs``), or fail when they are stale (``--check``).

The command tree and the settings models are the source: what they say is what people read.
"""

import argparse
import sys
from pathlib import Path

from command_page import command_page
from settings_page import settings_page

DOCS = Path(__file__).resolve().parent.parent / "docs"


def main() -> None:
    """Write both pages, or compare them with what is committed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is stale")
    check = parser.parse_args().check
    pages = {"cli.md": command_page(), "configuration.md": settings_page()}
    stale = [name for name, text in pages.items() if not _is_current(DOCS / name, text)]
    if check and stale:
        sys.exit(f"stale, run `make docs`: {', '.join(f'docs/{name}' for name in stale)}")
    for name in stale:
        (DOCS / name).write_text(pages[name], encoding="utf-8")


def _is_current(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    main()
