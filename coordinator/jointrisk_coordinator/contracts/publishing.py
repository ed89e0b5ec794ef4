"""Publishing feature contracts: versions from 1 without gaps, each signed, none ever changed."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from jointrisk.clock import Clock
from jointrisk.errors import InvalidInputError, NotFoundError, TooLargeError
from jointrisk.federation.contract import CONTRACT, FeatureContract, contract_from_payload, contract_from_toml
from jointrisk.federation.signing import Signed
from jointrisk.store import AuditLog, Store
from jointrisk_coordinator.contracts.tables import ContractPublished

Sign = Callable[[str, bytes], Signed]
"""Signs a payload as a document of a kind, with the coordinator's identity key."""

LARGEST_PAYLOAD = 4 << 20
"""Bytes; a contract travels in one message."""


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


def publish(store: Store, toml: str, *, sign: Sign, clock: Clock, audit: AuditLog) -> int:
    """Check, number, sign and store a contract, and return its version.

    The current terms once more are no new version: what was cut off can be repeated. A version number in the TOML is
    not looked at.

    Raises:
        InvalidInputError: it breaks the rules of a contract, or a draft's places are still to be filled in.
        TooLargeError: it is longer than a message can be.
    """
    terms = contract_from_toml(toml)
    _require_confirmed(terms)
    with store.transaction() as session:
        last = _newest(session)
        if last is not None and last.contract.same_terms(terms):
            return last.version
        contract = terms.with_version(last.version + 1 if last else 1)
        _append(session, contract, _signed(contract, sign), clock())
        audit.append_in(
            session,
            "contract.published",
            contract_version=contract.version,
            contract_digest=contract.digest(),
            features=len(contract.features),
        )
    return contract.version


def current(store: Store) -> PublishedContract | None:
    """Return the newest version, or None when nothing is published."""
    with store.reading() as session:
        return _newest(session)


def get(store: Store, version: int) -> PublishedContract:
    """Return one version.

    Raises:
        NotFoundError: it was never published.
    """
    with store.reading() as session:
        row = session.get(ContractPublished, version)
    if row is None:
        raise NotFoundError(f"there is no feature contract of version {version}", remedy="See `contract list`.")
    return _from_row(row)


def published(store: Store) -> list[PublishedContract]:
    """Return every version, oldest first."""
    with store.reading() as session:
        return [
            _from_row(row) for row in session.scalars(select(ContractPublished).order_by(ContractPublished.version))
        ]


def _require_confirmed(terms: FeatureContract) -> None:
    if keys := terms.unconfirmed():
        raise InvalidInputError(
            f"the contract is a draft still, to be filled in at: {', '.join(keys)}",
            remedy="Replace every TO CONFIRM and 待确认 in the file.",
        )


def _signed(contract: FeatureContract, sign: Sign) -> Signed:
    payload = contract.payload()
    if len(payload) > LARGEST_PAYLOAD:
        raise TooLargeError(f"expected a contract of at most {LARGEST_PAYLOAD} bytes, got {len(payload)}")
    return sign(CONTRACT, payload)


def _newest(session: Session) -> PublishedContract | None:
    row = session.scalars(select(ContractPublished).order_by(ContractPublished.version.desc()).limit(1)).first()
    return _from_row(row) if row else None


def _append(session: Session, contract: FeatureContract, signed: Signed, now: datetime) -> None:
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
