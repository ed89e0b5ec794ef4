"""When to stop: federated validation says after each tree whether the trees still make the model better."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Stopper:
    """What validation has said so far.

    Attributes:
        patience: so many trees without an improvement end the run.
        best: the smallest loss; infinite before the first.
        trees: how many trees had it.
        seen: how many trees there are.
    """

    patience: int
    best: float = float("inf")
    trees: int = 0
    seen: int = 0

    def after(self, loss: float) -> "Stopper":
        """Return what is known after one more tree.

        Args:
            loss: on rows that no tree has used, the smaller the better.
        """
        better = loss < self.best
        seen = self.seen + 1
        return replace(self, seen=seen, best=loss if better else self.best, trees=seen if better else self.trees)

    @property
    def ended(self) -> bool:
        """Whether it is enough."""
        return self.seen - self.trees >= self.patience
