"""What `jointrisk.listing` may import: the standard library, ``cryptography``, and a few modules of the core.

The contract in .importlinter names what it may not, also through others, and no such list is complete.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jointrisk.listing

PACKAGE = Path(jointrisk.listing.__file__).parent
FILES = sorted(PACKAGE.glob("*.py"))
ALLOWED = {
    "jointrisk.errors",
    "jointrisk.canonical",
    "jointrisk.identifiers",
    "jointrisk.federation.document",
    "jointrisk.federation.names",
    "jointrisk.federation.signing",
}
SIDE_EFFECTS = {"asyncio", "logging", "os", "pathlib", "random", "secrets", "socket", "sqlite3", "subprocess", "time"}


def imported(source: str) -> Iterator[str]:
    """Yield each module that a source imports, inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f"{'.' * node.level}{node.module or ''}"


def is_allowed(module: str) -> bool:
    """Tell whether a file of the package may import a module."""
    root = module.partition(".")[0]
    if root in SIDE_EFFECTS:
        return False
    known = root in sys.stdlib_module_names or root == "cryptography" or module in ALLOWED
    return known or module.startswith("jointrisk.listing.")


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_the_package_imports_nothing_else(path: Path) -> None:
    """No files, sockets, clocks or randomness of its own: it computes, and others store and send."""
    assert [module for module in imported(path.read_text()) if not is_allowed(module)] == []


@pytest.mark.parametrize("source", ["import os", "import grpc", "from jointrisk.rpc import x", "from . import x"])
def test_other_imports_are_found(source: str) -> None:
    """The check above sees what it is there for."""
    (module,) = imported(source)
    assert not is_allowed(module)
