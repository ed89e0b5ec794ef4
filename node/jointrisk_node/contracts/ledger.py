"""The versions of the feature contract that this node has verified."""

import hashlib

from sqlalchemy import select
from sqlalchemy.orm import Session

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import NotFoundError, RefusedError
from jointrisk.federation.contract import CONTRACT, MOST_VERSIONS, FeatureContract, contract_from_payload
from jointrisk.federation.signing import Signed, verify_document
from jointrisk.store import AuditLog, Store
from jointrisk_node.contracts.tables import ContractKept


class ContractLedger:
    """Keeps contracts. Methods block on the database; they are safe from any thread.

    Args:
        store: the node's database.
        coordinator_key: the coordinator's Ed25519 identity key that this node has pinned, 32 bytes.
        audit: the audit log in the same store.
        clock: the time.
    """

    def __init__(self, store: Store, coordinator_key: bytes, audit: AuditLog, clock: Clock = utc_now) -> None:
        self._store = store
        self._key = coordinator_key
        self._audit = audit
        self._clock = clock

    def accept(self, signed: Signed, *, asked: int) -> FeatureContract:
        """Verify a document that the coordinator sent, keep it, and return the contract.

        Args:
            signed: what came.
            asked: the version that was asked for; 0 for the newest.

        Raises:
            UnauthenticatedError: the pinned key has not signed it as a contract.
            CorruptError: it is signed and no contract.
            VersionMismatchError: it has a layout that this software does not know.
            RefusedError: it is not the version that was asked for, older than the newest one known here, or
                another than the one of the same version known here.
        """
        contract = contract_from_payload(verify_document(signed, CONTRACT, self._key))
        with self._store.transaction() as session:
            kept = session.get(ContractKept, contract.version)
            reason = self._objection(session, contract, signed, kept, asked)
            if kept is None and not reason:
                self._keep(session, contract, signed)
            elif reason:
                self._audit.append_in(session, "contract.refused", contract_version=contract.version, reason=reason)
        if reason:
            raise RefusedError(reason, remedy="Ask the people who run the coordinator; keep this node's audit log.")
        return contract

    def current(self) -> FeatureContract | None:
        """Return the newest contract known here, or None."""
        return newest_contract(self._store)

    def current_version(self) -> int:
        """Return the newest version known here; 0 for none."""
        with self._store.reading() as session:
            row = _newest(session)
        return row.version if row else 0

    def payload(self, version: int) -> bytes:
        """Return the canonical payload of a version.

        Raises:
            NotFoundError: this node does not have it.
        """
        with self._store.reading() as session:
            row = session.get(ContractKept, version) if version < MOST_VERSIONS else None
        if row is None:
            raise NotFoundError(f"this node has no feature contract of version {version}")
        return row.payload

    def get(self, version: int) -> FeatureContract:
        """Return a version.

        Raises:
            NotFoundError: this node does not have it.
        """
        return contract_from_payload(self.payload(version))

    def _objection(
        self, session: Session, contract: FeatureContract, signed: Signed, kept: ContractKept | None, asked: int
    ) -> str:
        """Return what is wrong with a contract whose signature is right; an empty text for nothing."""
        newest = _newest(session)
        if contract.version == 0 or asked not in {0, contract.version}:
            return f"asked the coordinator for contract version {asked}, got version {contract.version}"
        if kept is not None and kept.payload != signed.payload:
            return f"the coordinator has signed two different contracts of version {contract.version}"
        if asked == 0 and newest is not None and contract.version < newest.version:
            return f"the coordinator's newest contract is version {contract.version}, it was {newest.version} before"
        return ""

    def _keep(self, session: Session, contract: FeatureContract, signed: Signed) -> None:
        digest = hashlib.sha256(signed.payload).hexdigest()
        session.add(
            ContractKept(
                version=contract.version,
                payload=signed.payload,
                signature=signed.signature,
                signer=self._key,
                digest=digest,
                received_at=self._clock(),
            )
        )
        self._audit.append_in(session, "contract.received", contract_version=contract.version, contract_digest=digest)


def newest_contract(store: Store) -> FeatureContract | None:
    """Return the newest contract that was verified and kept in a node's database, or None."""
    with store.reading() as session:
        row = _newest(session)
    return contract_from_payload(row.payload) if row else None


def _newest(session: Session) -> ContractKept | None:
    return session.scalars(select(ContractKept).order_by(ContractKept.version.desc()).limit(1)).first()
