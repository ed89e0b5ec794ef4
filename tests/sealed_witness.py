"""Everything sealed that nodes ever had about ceremonies: read from their databases again and again while they run."""

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Self

from jointrisk.masterkey import MasterKey
from jointrisk.oprf.ceremony.party_state import PartyState, Secrets
from local_federation import Daemon

_PAUSE_SECONDS = 0.01
_SHARES = "SELECT 'key-share/' || generation, sealed FROM key_share WHERE sealed IS NOT NULL"
_PARTIES = "SELECT 'ceremony/' || session, party FROM ceremony WHERE party IS NOT NULL"


class SealedWitness:
    """Looks at the databases of nodes, and remembers what is sealed there.

    Args:
        nodes: by name; their databases exist.
    """

    def __init__(self, nodes: Mapping[str, Daemon]) -> None:
        self._nodes = nodes
        self._seen: dict[tuple[str, str], set[bytes]] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="witness")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def deleted(self) -> Iterator[tuple[str, str, bytes]]:
        """Yield what was there and is not any more: the node, what it was, the sealed bytes."""
        for name, node in self._nodes.items():
            with closing(_connected(node)) as database:
                present = {sealed for _, sealed in _rows(database)}
            for what, sealed in self.of(name):
                if sealed not in present:
                    yield name, what, sealed

    def of(self, name: str) -> Iterator[tuple[str, bytes]]:
        """Yield what a node had: what it was, and the sealed bytes."""
        for (at, what), many in sorted(self._seen.items()):
            if at == name:
                yield from ((what, sealed) for sealed in sorted(many))

    def secrets(self, name: str, key: MasterKey) -> set[bytes]:
        """Open what a node had, and return every secret in it: shares, polynomials, recipient keys."""
        opened = ((what, key.open(what, sealed)) for what, sealed in self.of(name))
        return {
            secret
            for what, content in opened
            for secret in ([content] if what.startswith("key-share/") else _secrets(PartyState.decode(content).secrets))
        }

    def _look(self) -> None:
        databases = {name: _connected(node) for name, node in self._nodes.items()}
        while not self._end.wait(_PAUSE_SECONDS):
            for name, database in databases.items():
                for what, sealed in _rows(database):
                    self._seen.setdefault((name, what), set()).add(sealed)
        for database in databases.values():
            database.close()


def _connected(node: Daemon) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{node.home / 'state.db'}?mode=ro", uri=True, check_same_thread=False)


def _rows(database: sqlite3.Connection) -> list[tuple[str, bytes]]:
    return [*database.execute(_SHARES), *database.execute(_PARTIES)]


def _secrets(kept: Secrets) -> Iterator[bytes]:
    yield from kept.recipient_keys
    if kept.dealing is not None:
        yield from kept.dealing.polynomial.coefficients
        yield from (kept.dealing.nonce, *kept.dealing.ephemerals)
    if kept.share is not None:
        yield kept.share
