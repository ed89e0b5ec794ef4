"""What `jointrisk.oprf` may import: the standard library, itself, the errors.

The contract in .importlinter names what it may not, and no such list is complete.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jointrisk.oprf

PACKAGE = Path(jointrisk.oprf.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(source: str) -> Iterator[str]:
    """Yield each module that a source imports, inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f"{'.' * node.level}{node.module or ''}"


def is_allowed(module: str, file: str) -> bool:
    """Tell whether a file of the package may import a module."""
    root = module.partition(".")[0]
    if root == "ctypes":
        return file == "group.py"
    return root in sys.stdlib_module_names or module == "jointrisk.errors" or f"{module}.".startswith("jointrisk.oprf.")


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])
def test_the_package_imports_nothing_else(path: Path) -> None:
    """So that whoever audits the cryptography has to read this package and libsodium, and nothing more."""
    found = [module for module in imported(path.read_text()) if not is_allowed(module, str(path.relative_to(PACKAGE)))]
    assert found == []


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import cryptography.hazmat", "cryptography.hazmat"),
        ("def f():\n    from jointrisk.canonical import x", "jointrisk.canonical"),
        ("from ctypes import CDLL", "ctypes"),
        ("from ..canonical import x", "..canonical"),
        ("from jointrisk import errors", "jointrisk"),
        ("import jointrisk.oprfs", "jointrisk.oprfs"),
        ("import rbcl", "rbcl"),
    ],
)
def test_other_imports_are_found(source: str, module: str) -> None:
    """The check above sees what it is there for."""
    assert list(imported(source)) == [module]
    assert not is_allowed(module, "suite.py")
