"""What the pages say exists, exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "changelog.d").glob("*.md")])
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
TARGET = re.compile(r"(?:^|`)make ([a-z][a-z-]*)", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of every page is a file or folder of the repository."""
    dead = [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_tests_exist(page: Path) -> None:
    """A claim that names a test names one that is there."""
    missing = [found for found in NAMED_TEST.findall(page.read_text()) if not _exists(*found)]
    assert missing == []


def test_threat_model_names_a_test_for_every_claim() -> None:
    """Each row of a table of claims holds at least one test."""
    rows = re.findall(r"^\| (?!claim|---)(.+)\|$", _claims((ROOT / "docs/threat-model.md").read_text()), re.MULTILINE)
    assert len(rows) > 20
    assert [row for row in rows if not NAMED_TEST.search(row)] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    """Following links from README.md leads to every page under docs/, folders of pages included."""
    reached = {ROOT / "README.md"}
    queue = [ROOT / "README.md"]
    while queue:
        page = queue.pop()
        targets = [(page.parent / target).resolve() for target in LINK.findall(page.read_text())]
        pages = [inner for target in targets for inner in ([target] if target.is_file() else target.glob("*.md"))]
        fresh = {found for found in pages if found.suffix == ".md"} - reached
        reached |= fresh
        queue += fresh
    assert set((ROOT / "docs").rglob("*.md")) <= reached


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/operations.md"])
def test_make_targets_that_are_named_exist(name: str) -> None:
    """``make x`` in the pages that people follow is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(TARGET.findall((ROOT / name).read_text()))
    assert named - targets == set()


def _claims(text: str) -> str:
    """Return the tables under the headings that begin with "Claims"."""
    sections = re.split(r"^## ", text, flags=re.MULTILINE)
    return "\n".join(section for section in sections if section.startswith("Claims"))


def _exists(path: str, function: str) -> bool:
    file = ROOT / path
    if not file.exists():
        return False
    tree = ast.parse(file.read_text())
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return not function or function in defined
