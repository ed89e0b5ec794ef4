"""What is the same in all secure sums of a run."""

from collections.abc import Mapping
from dataclasses import dataclass

from jointrisk.learning.secure_aggregation import Mode, Parameters, Terms
from jointrisk.learning.secure_aggregation.fixed_point import Layout


@dataclass(frozen=True)
class Sitting:
    """Who takes part in a run's sums, and by which numbers.

    Attributes:
        federation: its name.
        run: the run's id.
        contract_version: of the feature contract.
        numbers: the participants' numbers.
        identities: their identity keys, 32 bytes each.
        parameters: how many there are, may collude, sign, and are needed.
    """

    federation: str
    run: str
    contract_version: int
    numbers: Mapping[str, int]
    identities: Mapping[str, bytes]
    parameters: Parameters

    def terms(
        self,
        mode: Mode,
        *,
        session: bytes,
        number: int,
        attempt: int,
        statistic: str,
        request: bytes = b"",
        layout: Layout | None = None,
    ) -> Terms:
        """Return the terms of a session.

        Args:
            mode: a round, or a series.
            session: 16 random bytes.
            number: the round of the run.
            attempt: how often the same was begun.
            statistic: what is summed.
            request: of a round: H(request).
            layout: of a round: of the inputs.
        """
        numbers = self.parameters
        return Terms(
            mode=mode,
            session=session,
            federation=self.federation,
            run=self.run,
            round=number,
            attempt=attempt,
            statistic=statistic,
            contract_version=self.contract_version,
            colluders=numbers.colluders,
            threshold=numbers.threshold,
            minimum=numbers.minimum,
            members=tuple((name, self.identities[name]) for name in sorted(self.numbers)),
            request=request,
            layout=layout,
        )
