"""The worker's way to the node's record of secure sums: lines to the daemon, replies as files in the run's folder."""

import base64
from pathlib import Path
from typing import Any

from jointrisk import durable
from jointrisk.errors import CorruptError, by_code
from jointrisk.learning.secure_aggregation import Policy
from jointrisk.learning.secure_runs import Keeping, Kept
from jointrisk.worker_process import Line, Pipe


class LedgerLine:
    """See :class:`jointrisk.learning.secure_runs.Ledger`.

    Args:
        pipe: to the daemon.
        folder: of the run; replies lie in its folder ``sums``.
    """

    def __init__(self, pipe: Pipe, folder: Path) -> None:
        self._pipe = pipe
        self._folder = durable.folder(folder / "sums")
        self._last: tuple[bytes, Kept] | None = None
        self._policy: Policy | None = None

    def open(self, session: bytes, terms: bytes | None) -> Kept:
        """Return what is kept of a session; with terms, the daemon judges them first.

        The session of the last answer is still known here: no other process changes it.
        """
        if self._last is not None and self._last[0] == session:
            return self._last[1]
        said = None if terms is None else base64.b64encode(terms).decode()
        found = self._ask(op="sum_open", session=session.hex(), terms=said)
        policy = found["policy"]
        judge = Policy(
            policy["federation"],
            policy["contract_version"],
            {name: bytes.fromhex(key) for name, key in policy["pinned"].items()},
            policy["colluders"],
            policy["minimum"],
        )
        state = None if found["state"] is None else base64.b64decode(found["state"])
        answers = tuple((number, bytes.fromhex(request)) for number, request in found["answers"])
        kept = Kept(judge, state, answers)
        self._last = None if state is None else (session, kept)
        self._policy = judge
        return kept

    def sign(self, session: bytes, message: bytes) -> bytes:
        """Have the daemon sign keys or survivors."""
        said = self._ask(op="sum_sign", session=session.hex(), message=base64.b64encode(message).decode())
        return base64.b64decode(said["signature"])

    def keep(self, keeping: Keeping, reply: bytes) -> None:
        """Store the reply, then have the daemon commit what makes it one: without that, the file means nothing."""
        self._last = None
        durable.write(self._path(keeping.answers[-1][1]), reply)
        said = self._ask(
            op="sum_keep",
            session=keeping.session.hex(),
            state=base64.b64encode(keeping.state).decode(),
            answers=[[number, request.hex()] for number, request in keeping.answers],
            statement=keeping.statement.hex(),
            cohort=list(keeping.cohort),
            finished=keeping.finished,
        )
        if self._policy is not None:
            self._last = (keeping.session, Kept(self._policy, keeping.state, keeping.answers))
        for request in said["over"]:
            self._path(bytes.fromhex(request)).unlink(missing_ok=True)

    def reply(self, request: bytes) -> bytes:
        """Return a stored reply.

        Raises:
            CorruptError: it is gone.
        """
        try:
            return self._path(request).read_bytes()
        except FileNotFoundError:
            raise CorruptError("expected the reply that was stored with its record, got none") from None

    def _path(self, request: bytes) -> Path:
        return self._folder / f"{request.hex()}.reply"

    def _ask(self, **line: Any) -> Line:
        self._pipe.send(**line)
        said = self._pipe.receive()
        if said is None:
            raise CorruptError("expected the daemon's answer, got none")
        if said["op"] == "refused":
            raise by_code(said["code"])(said["reason"])
        return said
