"""Rows and entries on their way into the ledger and out of it."""

from dataclasses import dataclass, field
from datetime import datetime

from jointrisk_node.listings.rows import ListedRow
from jointrisk_node.listings.secret import RowVault


@dataclass(frozen=True, slots=True)
class SealedEntry:
    """An entry that has been sealed and is to be stored.

    Attributes:
        entry_id: its id, 16 bytes.
        epoch: of the key that its identifier was evaluated with.
        kind: of the identifier.
        tag: what it is found under.
        ciphertext: the sealed label.
        witness: what it is appended with.
    """

    entry_id: bytes = field(repr=False)
    epoch: int
    kind: str
    tag: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)
    witness: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A row with its entries.

    Attributes:
        row: what it says.
        row_key: by its reference (`RowVault.row_key`).
        content: digest of what it says (`RowVault.content`).
        entries: one for each identifier.
        held: it is in dispute.
    """

    row: ListedRow = field(repr=False)
    row_key: bytes = field(repr=False)
    content: bytes = field(repr=False)
    entries: tuple[SealedEntry, ...] = field(repr=False)
    held: bool = False

    def values(self, vault: RowVault, now: datetime) -> dict[str, object]:
        """Return the row as it is inserted, sealed."""
        return {
            "row_key": self.row_key,
            "content": self.content,
            "sealed": vault.seal_row(self.row_key, self.row),
            "state": "listed",
            "disputed": self.held,
            "changed_at": now,
        }

    def entry_values(self, vault: RowVault) -> list[dict[str, object]]:
        """Return the entries as they are inserted, their witnesses sealed: waiting to be appended."""
        return [
            {
                "entry_id": entry.entry_id,
                "row_key": self.row_key,
                "epoch": entry.epoch,
                "kind": entry.kind,
                "tag": entry.tag,
                "ciphertext": entry.ciphertext,
                "witness": vault.seal_witness(entry.entry_id, entry.witness),
                "state": "stored",
                "todo": "append",
                "want_ended": False,
                "want_held": self.held,
                "held": False,
                "refusal": "",
                "verified_size": 0,
            }
            for entry in self.entries
        ]


@dataclass(frozen=True, slots=True)
class KnownRow:
    """A row that is listed.

    Attributes:
        row_key: by its reference.
        content: digest of what it says.
        state: listed, expired, withdrawing or withdrawn.
        disputed: it is in dispute.
    """

    row_key: bytes = field(repr=False)
    content: bytes = field(repr=False)
    state: str
    disputed: bool


@dataclass(frozen=True, slots=True)
class OwnRow:
    """A row as it is listed, opened. The `repr` shows nothing of what it says."""

    row: ListedRow = field(repr=False)
    state: str
    disputed: bool
    epochs: tuple[int, ...]
