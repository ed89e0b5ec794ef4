"""What secure aggregation may import: the standard library, numpy, ``cryptography``, errors and signatures.

The contract in .importlinter names what it may not, also through others, and no such list is complete.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jointrisk.learning.secure_aggregation

PACKAGE = Path(jointrisk.learning.secure_aggregation.__file__).parent
FILES = sorted(PACKAGE.glob("*.py"))
ALLOWED = {"numpy", "numpy.typing", "jointrisk.errors", "jointrisk.federation.signing"}
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
    return known or f"{module}.".startswith("jointrisk.learning.secure_aggregation.")


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_the_package_imports_nothing_else(path: Path) -> None:
    """No files, sockets, clocks or randomness of its own: it computes, and others store and send."""
    assert [module for module in imported(path.read_text()) if not is_allowed(module)] == []


@pytest.mark.parametrize(
    "source", ["import os", "import flwr", "from jointrisk.learning.flower import x", "import torch"]
)
def test_other_imports_are_found(source: str) -> None:
    """The check above sees what it is there for."""
    (module,) = imported(source)
    assert not is_allowed(module)
