"""Publishing feature contracts: versions from 1 without gaps, each signed, none ever changed."""

from collections.abc import Callable

from jointrisk.clock import Clock
from jointrisk.errors import InvalidInputError, TooLargeError
from jointrisk.federation.contract import CONTRACT, FeatureContract, contract_from_toml
from jointrisk.federation.signing import Signed
from jointrisk.store import AuditLog, Store
from jointrisk_coordinator.contracts.ledger import append, newest

Sign = Callable[[str, bytes], Signed]
"""Signs a payload as a document of a kind, with the coordinator's identity key."""

LARGEST_PAYLOAD = 4 << 20
"""Bytes; a contract travels in one message."""


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
        last = newest(session)
        if last is not None and last.contract.same_terms(terms):
            return last.version
        contract = terms.with_version(last.version + 1 if last else 1)
        append(session, contract, _signed(contract, sign), clock())
        audit.append_in(
            session,
            "contract.published",
            contract_version=contract.version,
            contract_digest=contract.digest(),
            features=len(contract.features),
        )
    return contract.version


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
