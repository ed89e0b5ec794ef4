"""Published feature contracts in the database."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from jointrisk.errors import NotFoundError
from jointrisk.federation.contract import CONTRACT, MOST_VERSIONS, FeatureContract, contract_from_payload
from jointrisk.federation.signing import Signed
from jointrisk.store import Store
from jointrisk_coordinator.contracts.tables import ContractPublished


@dataclass(frozen=True)
class PublishedContract:
    """A version as it is stored and served.

    Attributes:
        version: from 1.
        signed: the document that members verify.
        digest: SHA-256 of its payload, hex.
        published_at: when.
    """

    version: int
    signed: Signed
    digest: str
    published_at: datetime

    @property
    def contract(self) -> FeatureContract:
        """The terms."""
        return contract_from_payload(self.signed.payload)


def current(store: Store) -> PublishedContract | None:
    """Return the newest version, or None when nothing is published."""
    with store.reading() as session:
        return newest(session)


def get(store: Store, version: int) -> PublishedContract:
    """Return one version.

    Raises:
        NotFoundError: it was never published.
    """
    with store.reading() as session:
        # On the wire a version has 64 bits without a sign, in the database with one.
        row = session.get(ContractPublished, version) if version < MOST_VERSIONS else None
    if row is None:
        raise NotFoundError(f"there is no feature contract of version {version}", remedy="See `contract list`.")
    return _from_row(row)


def published(store: Store) -> list[PublishedContract]:
    """Return every version, oldest first."""
    with store.reading() as session:
        return [
            _from_row(row) for row in session.scalars(select(ContractPublished).order_by(ContractPublished.version))
        ]


def newest(session: Session) -> PublishedContract | None:
    """Return the newest version, or None."""
    row = session.scalars(select(ContractPublished).order_by(ContractPublished.version.desc()).limit(1)).first()
    return _from_row(row) if row else None


def append(session: Session, contract: FeatureContract, signed: Signed, now: datetime) -> None:
    """Store a signed version that is not there yet."""
    session.add(
        ContractPublished(
            version=contract.version,
            payload=signed.payload,
            signature=signed.signature,
            signer=signed.signer,
            digest=contract.digest(),
            published_at=now,
        )
    )


def _from_row(row: ContractPublished) -> PublishedContract:
    signed = Signed(CONTRACT, row.payload, row.signature, row.signer)
    return PublishedContract(row.version, signed, row.digest, row.published_at)
