"""Secure aggregation: the coordinator learns sums of the members' inputs, and nothing else about one of them.

State machines without input and output: `Participant` and `Aggregator` for one sum from which members may drop out,
`SeriesMember` and `SeriesAggregator` for many sums of a fixed cohort. Remaining steps are I/O. The normative text is
docs/protocol.md, section 6.

    member                              coordinator                          others
      |  1 keys: two public keys, signed -> |                                   |
      | <----- the list of all signed keys -|                                   |
      |  2 shares of both secrets, sealed ->| --------------------------------> |
      | <-------------- cohort, and shares -| <-------------------------------- |
      |  3 masked input, complaints ------> |                                   |
      | <------------- the set of survivors-|                                   |
      |  4 signature over the one set ----> |                                   |
      | <---------- t signatures over it ---|                                   |
      |    shares: of seeds of survivors,   |  recovers seeds and keys, checks  |
      |    of keys of those that dropped -> |  them, takes the masks off        |

Bonawitz et al. (2017), against a coordinator that cheats together with f of n members. Why nobody is singled out:

1. Two sets of survivors with t signatures each would share an honest signer (2t > n + f), which signs one. So shares of
   both secrets of an honest member are never released together, and there is one sum of one attempt.
2. Signers are survivors, and each has masked with all survivors. An honest survivor that has not signed was given a
   cohort of its own, perhaps; its cohort has more than n - t + f members, so it has masked with an honest signer, whose
   key is not recovered. The honest survivors are tied together by masks that vanish in their one sum, or not at all.
3. Masks are bound to terms, keys and cohort: members that were told different things have no mask in common, and what
   comes out is noise.
4. Other attempts and smaller sets of members make no difference that is one member. An honest member signs one set of
   a sum, and a set with h honest members takes more than h/2 honest signers. To leave one of H honest members over,
   every other has to be in two sets or more: together the sets would take more than H signers.

What must be durable when: see `answered`. Randomness is an argument everywhere; nothing here reads a clock.
"""

from jointrisk.learning.secure_aggregation.aggregator import Aggregator, Outcome
from jointrisk.learning.secure_aggregation.answered import Answer, Answered, Contributions
from jointrisk.learning.secure_aggregation.fixed_point import Count, Input, Layout, Real, Sums
from jointrisk.learning.secure_aggregation.messages import Kind
from jointrisk.learning.secure_aggregation.parameters import Parameters
from jointrisk.learning.secure_aggregation.participant import Participant
from jointrisk.learning.secure_aggregation.rules import Rule, RuleError
from jointrisk.learning.secure_aggregation.series import SeriesAggregator, SeriesMember, SeriesOutcome
from jointrisk.learning.secure_aggregation.session import Question
from jointrisk.learning.secure_aggregation.terms import Mode, Policy, Terms

__all__ = [
    "Aggregator",
    "Answer",
    "Answered",
    "Contributions",
    "Count",
    "Input",
    "Kind",
    "Layout",
    "Mode",
    "Outcome",
    "Parameters",
    "Participant",
    "Policy",
    "Question",
    "Real",
    "Rule",
    "RuleError",
    "SeriesAggregator",
    "SeriesMember",
    "SeriesOutcome",
    "Sums",
    "Terms",
]
