"""From rows to sealed entries: evaluated with the holders, sealed, ready to be stored."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from jointrisk.identifiers import Identifier
from jointrisk.listing.derive import ListingKeys
from jointrisk.listing.label import MemberKind
from jointrisk.listing.record import Randomness, new_entry_id, seal
from jointrisk_node.listings.kept import SealedEntry, SealedRow
from jointrisk_node.listings.rows import ListedRow
from jointrisk_node.listings.secret import RowVault

Evaluate = Callable[[Sequence[Identifier], int], Awaitable[Sequence[ListingKeys]]]
"""Evaluates identifiers in an epoch for publishing; the keys come in their order. Raises JointriskError."""

IDENTIFIERS_AT_ONCE: Final = 8192
"""Of one evaluation: two batches, so that asker and holders work at the same time. A crash loses at most as many."""


class Sealer:
    """Evaluates and seals rows. Keys are forgotten as soon as a label is sealed.

    Args:
        vault: row keys and pseudonyms.
        evaluate: asks the holders.
        member_kind: what kind of lender lists.
        randomness: draws entry ids.
    """

    def __init__(self, vault: RowVault, evaluate: Evaluate, member_kind: MemberKind, randomness: Randomness) -> None:
        self._vault = vault
        self._evaluate = evaluate
        self._member_kind = member_kind
        self._randomness = randomness

    async def seal(self, rows: Sequence[ListedRow], epoch: int) -> list[SealedRow]:
        """Return rows with an entry for each of their identifiers, in their order.

        Raises:
            JointriskError: the holders cannot be asked, or refuse.
        """
        # Several rows can be about one person, whose identifier is paid for once.
        identifiers = list(dict.fromkeys(one for row in rows for one in row.identifiers))
        keys = dict(zip(identifiers, await self._evaluate(identifiers, epoch), strict=True))
        return await asyncio.to_thread(self._sealed, rows, keys)

    def _sealed(self, rows: Sequence[ListedRow], keys: Mapping[Identifier, ListingKeys]) -> list[SealedRow]:
        return [self._row(row, [keys[one] for one in row.identifiers]) for row in rows]

    def _row(self, row: ListedRow, keys: Sequence[ListingKeys]) -> SealedRow:
        label = row.label(self._member_kind, self._vault.pseudonym(row.identifiers[0]))
        entries = []
        for identifier, its in zip(row.identifiers, keys, strict=True):
            sealed = seal(label, its, new_entry_id(self._randomness))
            kind = identifier.kind.value
            entries.append(SealedEntry(sealed.entry_id, its.epoch, kind, sealed.tag, sealed.ciphertext, its.witness))
        return SealedRow(row, self._vault.row_key(row.reference), self._vault.content(row), tuple(entries))
