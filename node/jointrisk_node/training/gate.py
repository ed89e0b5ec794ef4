"""The node's own decision about a run, before anything of it reaches the lender's rows."""

from collections.abc import Awaitable, Callable, Collection

from pydantic import ValidationError

from jointrisk.errors import InvalidInputError, JointriskError, RefusedError
from jointrisk.federation.policy import RunOffer, RunPolicy, decide
from jointrisk.learning.code_version import code_version
from jointrisk.learning.tasks import needs_contract, task_settings

ContractSource = Callable[[int], Awaitable[bytes]]
"""Returns the canonical payload of a contract version, its signature verified. Raises JointriskError."""


class Gate:
    """Decides about offers.

    Args:
        member_id: this node.
        policy: the operator's rules, as they are now.
        known_members: the members in the verified roster.
        contract: feature contracts.
        installed: the training code installed here.
    """

    def __init__(
        self,
        member_id: str,
        policy: Callable[[], RunPolicy],
        known_members: Callable[[], Collection[str]],
        contract: ContractSource,
        installed: Callable[[], str] = code_version,
    ) -> None:
        self.member_id = member_id
        self._policy = policy
        self._known_members = known_members
        self._contract = contract
        self._installed = installed

    def admit(self, run_id: str, content: bytes) -> RunOffer:
        """Return an offer that the policy lets through.

        Raises:
            InvalidInputError: it is no offer, or its task has no such settings.
            RefusedError: a rule of the policy forbids it.
        """
        offer = read_offer(content)
        if offer.run_id != run_id:
            raise InvalidInputError("offer: its run is not the one it came for")
        decide(
            self._policy(),
            offer,
            member_id=self.member_id,
            known_members=self._known_members(),
            code_version=self._installed(),
        )
        task_settings(offer.task, offer.task_settings)
        return offer

    async def contract(self, offer: RunOffer) -> bytes | None:
        """Return the payload of the contract that an offer is about; None when its task needs none.

        Raises:
            RefusedError: the offer names none though its task needs one, or this node cannot get it.
        """
        if not needs_contract(offer.task):
            return None
        if offer.contract_version == 0:
            raise RefusedError(f'the task "{offer.task}" needs a feature contract, the offer names none')
        try:
            return await self._contract(offer.contract_version)
        except JointriskError as error:
            raise RefusedError(f"feature contract {offer.contract_version}: {error.message}") from error


def read_offer(content: bytes) -> RunOffer:
    """Return an offer from its JSON.

    Raises:
        InvalidInputError: it is none.
    """
    try:
        return RunOffer.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(f"offer: {place}: {first['msg']}") from None
