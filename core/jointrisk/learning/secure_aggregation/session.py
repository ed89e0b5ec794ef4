"""What members do alike in a round and in a series: enter, make keys, take a question, name a sum."""

from collections.abc import Callable
from dataclasses import dataclass

from jointrisk.learning.secure_aggregation import agreement
from jointrisk.learning.secure_aggregation.answered import Contributions
from jointrisk.learning.secure_aggregation.fixed_point import Input
from jointrisk.learning.secure_aggregation.keys import Advert, KeyList, Sign, sign_advert
from jointrisk.learning.secure_aggregation.masks import SumContext
from jointrisk.learning.secure_aggregation.participant_state import ParticipantState, Secrets
from jointrisk.learning.secure_aggregation.rules import Rule, RuleError
from jointrisk.learning.secure_aggregation.sharing import Randomness
from jointrisk.learning.secure_aggregation.terms import Mode, Policy, Terms


@dataclass(frozen=True)
class Question:
    """What a member's own program makes of what it is asked beside the protocol.

    Attributes:
        request: H(request): SHA-256 of the content that came with the message, computed here, 32 bytes.
        statement: SHA-256 of model hash, version of this member's data and statistic, 32 bytes.
        give: computes the input; called at most once.
    """

    request: bytes
    statement: bytes
    give: Callable[[], Input]


def enter(
    terms: Terms, name: str, mode: Mode, policy: Policy, contributions: Contributions, randomness: Randomness
) -> ParticipantState:
    """Return the state with which a member enters a session, its secrets drawn.

    Raises:
        RuleError: the node does not take part; says which rule is broken.
    """
    policy.judge(terms, name)
    if terms.mode is not mode:
        raise RuleError(Rule.SESSION, "expected terms of the other mode, got these")
    contributions.begin(terms)
    drawn = [randomness(agreement.KEY_LENGTH) for _ in range(3)]
    return ParticipantState(terms, name, Secrets(*drawn))


def advert_of(terms: Terms, name: str, secrets: Secrets, sign: Sign) -> Advert:
    """Return a member's signed keys, the same whenever it is called."""
    public = (agreement.public_key(secrets.mask_key), agreement.public_key(secrets.seal_key))
    return sign_advert(terms, name, *public, agreement.seed_commitment(secrets.seed, terms.digest, name), sign)


def require_question(question: Question | None, request: bytes | None) -> Question:
    """Return the question, when its content is what the masks are for.

    Raises:
        RuleError: it is not.
    """
    if question is None or question.request != request:
        raise RuleError(Rule.SAME_REQUEST, "expected the content that the terms or the request name, got another")
    return question


def sum_context(keys: KeyList, cohort: tuple[int, ...], number: int = 0, request: bytes | None = None) -> SumContext:
    """Return what the masks of a sum are bound to.

    Args:
        keys: the list.
        cohort: places of those that mask with each other.
        number: of the sum in a series.
        request: H(request) in a series; a round's is in its terms.
    """
    terms = keys.terms
    asked = terms.request if request is None else request
    return SumContext(terms.digest, keys.digest, keys.cohort_digest(cohort), terms.round, number, asked or b"")
