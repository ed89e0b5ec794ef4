"""How many members, how many of them may collude, and how many are needed: the two inequalities.

With n members of which f collude with the coordinator, threshold t and minimum m:

- **2t > n + f**: two survivor sets with t signatures each share an honest signer, and that signs one.
- **m > n - t + f**: the signers of one attempt leave too few for another; and every honest survivor that did not sign
  was masked with an honest one that did.
"""

from dataclasses import dataclass

from jointrisk.learning.secure_aggregation.rules import Rule, RuleError

FEWEST_PARTIES = 3
"""Of two members each would know the other's input from the sum."""

MOST_PARTIES = 100
"""A member's place has one byte."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """The numbers of one session.

    Attributes:
        parties: n, how many members were asked.
        colluders: f, how many of them may be one with the coordinator.
        threshold: t, how many sign a survivor set, and how many shares make a secret.
        minimum: the fewest members whose inputs may be in a sum.
    """

    parties: int
    colluders: int
    threshold: int
    minimum: int

    @classmethod
    def choose(cls, parties: int, colluders: int) -> "Parameters":
        """Return the parameters under which the most members may drop out.

        Args:
            parties: n.
            colluders: f.

        Raises:
            RuleError: there are none.
        """
        threshold = (parties + colluders) // 2 + 1
        chosen = cls(parties, colluders, threshold, max(FEWEST_PARTIES, parties - threshold + colluders + 1))
        chosen.check()
        return chosen

    @classmethod
    def usual(cls, parties: int) -> "Parameters":
        """Return parameters for a third of the members colluding, or more where that costs no dropout.

        At least two members do not collude: the other one's input would be the sum.

        Raises:
            RuleError: there are none.
        """
        third = cls.choose(parties, parties // 3)
        choices = [cls.choose(parties, colluders) for colluders in range(parties // 3, parties - 1)]
        return max((one for one in choices if one.needed <= third.needed), key=lambda one: one.colluders)

    @property
    def needed(self) -> int:
        """The fewest members at every stage."""
        return max(self.threshold, self.minimum)

    @property
    def droppable(self) -> int:
        """How many members may drop out of a round."""
        return self.parties - self.needed

    def check(self) -> None:
        """Refuse parameters that do not protect a member.

        Raises:
            RuleError: says which rule is broken.
        """
        n, f, t = self.parties, self.colluders, self.threshold
        if not FEWEST_PARTIES <= n <= MOST_PARTIES:
            raise RuleError(Rule.PARTIES, f"expected {FEWEST_PARTIES} to {MOST_PARTIES} members, got {n}")
        if f < 0:
            raise RuleError(Rule.COLLUDERS, f"expected a number of colluding members from 0, got {f}")
        if not n + f < 2 * t <= 2 * n:
            raise RuleError(Rule.THRESHOLD, f"expected 2t > n + f and t <= n for n = {n} and f = {f}, got t = {t}")
        if not max(n - t + f, FEWEST_PARTIES - 1) < self.minimum <= n:
            raise RuleError(
                Rule.MINIMUM,
                f"expected a minimum above n - t + f = {n - t + f}, from {FEWEST_PARTIES} to n, got {self.minimum}",
            )
