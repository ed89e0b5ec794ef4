"""How a coordinator takes the masks off a sum, and names who made that impossible.

A recovered mask key has to give the public key that its member advertised, a recovered seed the commitment. Each share
was compared with its dealer's commitment when it came. So a secret that does not fit was dealt wrongly: its dealer is
named.
"""

from collections.abc import Mapping

from jointrisk.errors import UnavailableError
from jointrisk.learning.secure_aggregation import agreement, masks
from jointrisk.learning.secure_aggregation.keys import KeyList
from jointrisk.learning.secure_aggregation.masks import SumContext, Words
from jointrisk.learning.secure_aggregation.rules import Rule, RuleError
from jointrisk.learning.secure_aggregation.session import sum_context
from jointrisk.learning.secure_aggregation.sharing import Interpolation

Shares = Mapping[int, bytes]


class Unmasking:
    """Takes the masks off the sum of the survivors' words.

    Args:
        keys: of the session.
        cohort: places of those that masked with each other.
        survivors: places of those whose words are in the sum.
        shares: by dealer and holder: of the seed of a survivor, of the mask key of another.
    """

    def __init__(
        self, keys: KeyList, cohort: tuple[int, ...], survivors: tuple[int, ...], shares: Mapping[int, Shares]
    ) -> None:
        self._keys = keys
        self._terms = keys.terms
        self._cohort = cohort
        self._survivors = survivors
        self._shares = shares
        self._interpolations: dict[tuple[int, ...], Interpolation] = {}

    def run(self, words: Words) -> None:
        """Take all masks off ``words``, in place.

        Raises:
            UnavailableError: too few shares of somebody.
            RuleError: somebody dealt shares that make no secret, and is named.
        """
        seeds = {place: self._seed(place) for place in self._survivors}
        dropped = {place: self._key(place) for place in self._cohort if place not in self._survivors}
        context = sum_context(self._keys, self._cohort)
        for place, seed in seeds.items():
            masks.add(words, masks.own_key(seed, context, self._terms.name(place)), subtract=True)
        for place, key in dropped.items():
            self._take_off_pairs(words, place, key, context)

    def _take_off_pairs(self, words: Words, place: int, key: bytes, context: SumContext) -> None:
        """Take off what the survivors masked with one that dropped out: they added where their place is lower."""
        for survivor in self._survivors:
            agreed = agreement.agree(key, self._keys.adverts[survivor].mask_key)
            pair = masks.pair_key(agreed, context, self._terms.name(place), self._terms.name(survivor))
            masks.add(words, pair, subtract=survivor < place)

    def _seed(self, place: int) -> bytes:
        seed = self._recovered(place)
        said = agreement.seed_commitment(seed, self._terms.digest, self._terms.name(place))
        if said != self._keys.adverts[place].seed_commitment:
            raise self._dealt_wrongly(place)
        return seed

    def _key(self, place: int) -> bytes:
        key = self._recovered(place)
        if agreement.public_key(key) != self._keys.adverts[place].mask_key:
            raise self._dealt_wrongly(place)
        return key

    def _recovered(self, place: int) -> bytes:
        shares, threshold = self._shares[place], self._terms.threshold
        if len(shares) < threshold:
            raise UnavailableError(f"expected {threshold} shares of every secret, got {len(shares)} of one")
        used = tuple(sorted(shares)[:threshold])
        interpolation = self._interpolation(used)
        if (secret := interpolation.secret(shares)) is None:
            raise self._dealt_wrongly(place)
        return secret

    def _interpolation(self, places: tuple[int, ...]) -> Interpolation:
        """Return the coefficients for these places, computed once: mostly all secrets have the same holders."""
        if places not in self._interpolations:
            self._interpolations[places] = Interpolation(places)
        return self._interpolations[places]

    def _dealt_wrongly(self, place: int) -> RuleError:
        return RuleError(
            Rule.DEALT_SHARES,
            "expected shares that make the secret to which their dealer committed, got others",
            about=self._terms.name(place),
            remedy="Leave this member out of the run; it dealt shares that make no secret.",
        )
