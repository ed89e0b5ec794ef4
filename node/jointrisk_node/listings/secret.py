"""The lister secret, and what is made with it: row keys, digests of contents, pseudonyms; and sealing of rows.

    row key = HMAC-SHA256(secret, "jointrisk/v1/listed-row" || reference)
    content = HMAC-SHA256(secret, "jointrisk/v1/listed-content" || row)

So whoever has the database and not the master key can neither read references nor try them out.
"""

import hmac
from typing import Final

from jointrisk.identifiers import Identifier
from jointrisk.listing.pseudonym import SECRET_LENGTH, lister_pseudonym
from jointrisk.listing.record import Randomness
from jointrisk.masterkey import MasterKey
from jointrisk_node.listings.rows import ListedRow

_ROW_DOMAIN: Final = b"jointrisk/v1/listed-row"
_CONTENT_DOMAIN: Final = b"jointrisk/v1/listed-content"
_NAME: Final = "lister-secret"


class RowVault:
    """Computes with the lister secret, and seals under the master key. The `repr` shows nothing.

    Args:
        secret: the lister secret, 32 bytes.
        master: the master key.
    """

    __slots__ = ("_master", "_secret")

    def __init__(self, secret: bytes, master: MasterKey) -> None:
        self._secret = secret
        self._master = master

    def row_key(self, reference: str) -> bytes:
        """Return the key of a row, 32 bytes, by the lender's reference."""
        return hmac.digest(self._secret, _ROW_DOMAIN + reference.encode("utf-8"), "sha256")

    def content(self, row: ListedRow) -> bytes:
        """Return the digest of what a row says, 32 bytes: the same for the same content."""
        return hmac.digest(self._secret, _CONTENT_DOMAIN + row.to_bytes(), "sha256")

    def pseudonym(self, primary: Identifier) -> bytes:
        """Return this lender's pseudonym for a person, by the primary identifier."""
        return lister_pseudonym(self._secret, primary)

    def seal_row(self, row_key: bytes, row: ListedRow) -> bytes:
        """Seal a row so that it opens in its own place alone."""
        return self._master.seal(f"listed-row/{row_key.hex()}", row.to_bytes())

    def open_row(self, row_key: bytes, sealed: bytes) -> ListedRow:
        """Open a row.

        Raises:
            CorruptError: it does not open, or is no row.
        """
        return ListedRow.from_bytes(self._master.open(f"listed-row/{row_key.hex()}", sealed))

    def seal_witness(self, entry_id: bytes, witness: bytes) -> bytes:
        """Seal a witness until the coordinator has acknowledged its entry."""
        return self._master.seal(f"listing-witness/{entry_id.hex()}", witness)

    def open_witness(self, entry_id: bytes, sealed: bytes) -> bytes:
        """Open a witness.

        Raises:
            CorruptError: it does not open.
        """
        return self._master.open(f"listing-witness/{entry_id.hex()}", sealed)


def new_secret(master: MasterKey, randomness: Randomness) -> bytes:
    """Draw a lister secret; return it sealed."""
    return master.seal(_NAME, randomness(SECRET_LENGTH))


def open_vault(master: MasterKey, sealed: bytes) -> RowVault:
    """Return what computes with a sealed secret.

    Raises:
        CorruptError: it does not open.
    """
    return RowVault(master.open(_NAME, sealed), master)
