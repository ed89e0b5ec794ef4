"""The rules that end an attack, each with a name, and the error that names the rule which was broken."""

from enum import StrEnum

from jointrisk.errors import RefusedError


class Rule(StrEnum):
    """What a party insists on. docs/protocol.md, section 6, has the attack behind each."""

    PARTIES = "parties"
    """3 to 100 members, not fewer than the node's own minimum."""
    COLLUDERS = "colluders"
    """At least as many colluding members are provided for as the node says."""
    THRESHOLD = "threshold"
    """2t > n + f."""
    MINIMUM = "minimum"
    """Minimum > n - t + f, and not fewer members at any stage than that and the threshold."""
    PINNED_MEMBERS = "pinned-members"
    """Every party is a member under the identity key that is pinned for it."""
    SESSION = "session"
    """A message belongs to the session in which it is used, and to this federation and contract."""
    ATTEMPT = "attempt"
    """Of attempts at one sum only the newest goes on; a number is used once; a session without its state is over."""
    STEP = "step"
    """Steps follow each other."""
    ONE_ANSWER = "one-answer"
    """An identical request gets identical bytes, any other is refused."""
    SAME_REQUEST = "same-request"
    """Masks are for the one request that everybody was asked."""
    SIGNED_KEYS = "signed-keys"
    """Keys are signed by the member that is pinned, for this session; one's own are the ones that one made."""
    COHORT = "cohort"
    """Who is masked with has given its keys; who has survived was masked with."""
    SURVIVOR_SIGNATURES = "survivor-signatures"
    """Shares are released on t signatures of survivors over the one set that this node has signed."""
    DEALT_SHARES = "dealt-shares"
    """What a member dealt and released fits what it committed to."""
    INPUT = "input"
    """Inputs are as long and as large as was agreed."""
    NEVER_AGAIN = "never-again"
    """Who has signed a survivor set never contributes to that sum again."""
    ONE_COHORT = "one-cohort"
    """One statement about the same model and the same data is answered for one cohort."""


class RuleError(RefusedError):
    """A rule was broken.

    Args:
        rule: which.
        message: what was expected and what was got.
        about: the member that broke it, where that is known.
        remedy: see :class:`jointrisk.errors.JointriskError`.
    """

    def __init__(self, rule: Rule, message: str, *, about: str | None = None, remedy: str = "") -> None:
        super().__init__(f"{rule}: {message}", remedy=remedy)
        self.rule = rule
        self.about = about
