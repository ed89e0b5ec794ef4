"""The ``jointrisk`` command in this process: what it says and how it ends, without a new interpreter each time."""

import io
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from jointrisk.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code.
        out: what it wrote to standard output.
        err: what it wrote to standard error.
    """

    code: int
    out: str
    err: str

    def require_refusal(self, code: int, said: str) -> None:
        """One error line with these words (a regular expression), this exit code, nothing else."""
        assert self.code == code, self
        assert re.search(said, self.err), self
        assert re.search(r"^(error|Error): ", self.err, re.MULTILINE), self
        assert "Traceback" not in self.err
        assert self.out == ""


def jointrisk(*arguments: object, given: str = "") -> Ended:
    """Run a command with no terminal. What it raises beside its own errors escapes, as a traceback would.

    Args:
        arguments: the command's.
        given: what stands on its standard input.
    """
    out, err = io.StringIO(), io.StringIO()
    line = ["jointrisk", *map(str, arguments)]
    words, keys = patch.object(sys, "argv", line), patch.object(sys, "stdin", io.StringIO(given))
    with redirect_stdout(out), redirect_stderr(err), words, keys:
        try:
            main()
        except SystemExit as end:
            return Ended(int(end.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("a command ends with an exit code")
