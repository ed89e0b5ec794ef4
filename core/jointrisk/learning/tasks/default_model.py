"""The default model: one hidden layer on the contract's features, trained with AdamW whose moments stay at the lender.

Everything random derives from run seed, round and member number, on one thread, so that a task done again gives the
same bits.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jointrisk.errors import DataBreachError, InvalidInputError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning.flower import (
    Array,
    ArrayRecord,
    ClientApp,
    ConfigRecord,
    Context,
    Message,
    MetricRecord,
    RecordDict,
)
from jointrisk.learning.tasks import Assignment, Task
from jointrisk.learning.tasks.inputs import encode_rows, held_out, width
from jointrisk.learning.tasks.settings import DefaultModelSettings

_MOMENTS = "adamw"
_STEPS = "steps"


class DefaultModel:
    """See the module."""

    best_metric: str | None = "loss"

    def initial_arrays(
        self, settings: DefaultModelSettings, contract: FeatureContract | None, run_seed: int
    ) -> ArrayRecord:
        """Return a fresh network's weights."""
        torch.manual_seed(run_seed)
        return _arrays_of(_network(width(_present(contract)), settings.hidden))

    def client_app(self, assignment: Assignment) -> ClientApp:
        """Return the member's app, its rows encoded once."""
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(mode=True)
        lender = _Lender.of(assignment)
        app = ClientApp()
        app.train()(lender.train)
        app.evaluate()(lender.evaluate)
        return app


@dataclass(frozen=True)
class _Rows:
    """Encoded rows and their labels."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class _Lender:
    """One member's part: its rows, in two parts, and what it was asked."""

    settings: DefaultModelSettings
    run_seed: int
    number: int
    training: _Rows
    validation: _Rows

    @classmethod
    def of(cls, assignment: Assignment) -> "_Lender":
        """Encode and split the rows.

        Raises:
            DataBreachError: there are too few rows to split.
        """
        settings, data = assignment.settings, assignment.data
        if not isinstance(settings, DefaultModelSettings) or data is None:
            raise InvalidInputError("the default model needs its settings and rows")
        out = held_out(len(data.labels), settings.held_out)
        if not out.any() or out.all():
            raise DataBreachError(f"rows: expected enough to hold some out, got {len(out)}")
        inputs = torch.from_numpy(encode_rows(_present(assignment.contract), data.features))
        labels = torch.from_numpy(data.labels.astype(np.float32))
        parts = [_Rows(inputs[part], labels[part]) for part in (torch.from_numpy(~out), torch.from_numpy(out))]
        return cls(settings, assignment.run_seed, assignment.number, *parts)

    def train(self, message: Message, context: Context) -> Message:
        """Train on the lender's rows, from the round's arrays and the lender's own moments."""
        config = message.content.config_records["config"]
        torch.manual_seed(_seed(self.run_seed, _whole(config, "server-round"), self.number))
        network = self._network(message)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay
        )
        _restore(optimizer, network, context)
        loss = self._epochs(network, optimizer, float(config.get("proximal-mu", 0.0)))  # type: ignore[arg-type]
        _keep(optimizer, network, context)
        metrics = MetricRecord({"num-examples": len(self.training), "train_loss": loss})
        return Message(RecordDict({"arrays": _arrays_of(network), "metrics": metrics}), reply_to=message)

    def evaluate(self, message: Message, context: Context) -> Message:
        """Score the held-out rows."""
        del context
        network = self._network(message)
        with torch.no_grad():
            logits = network(self.validation.inputs).squeeze(1)
            loss = float(nn.functional.binary_cross_entropy_with_logits(logits, self.validation.labels))
        area = auc(logits.numpy(), self.validation.labels.numpy())
        metrics = MetricRecord({"num-examples": len(self.validation), "loss": loss, "auc": area})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    def _network(self, message: Message) -> nn.Module:
        network = _network(self.training.inputs.shape[1], self.settings.hidden)
        network.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
        return network

    def _epochs(self, network: nn.Module, optimizer: torch.optim.Optimizer, mu: float) -> float:
        """Return the mean loss of all steps; ``mu`` weighs FedProx's distance from where the round began."""
        begin = [parameter.detach().clone() for parameter in network.parameters()]
        total, seen = 0.0, 0
        for batch in self._batches():
            rows, labels = self.training.inputs[batch], self.training.labels[batch]
            loss = nn.functional.binary_cross_entropy_with_logits(network(rows).squeeze(1), labels)
            distance = sum(((p - b).square().sum() for p, b in zip(network.parameters(), begin, strict=True)), loss * 0)
            optimizer.zero_grad()
            (loss + mu / 2 * distance if mu else loss).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total, seen = total + float(loss.detach()) * len(batch), seen + len(batch)
        return total / seen

    def _batches(self) -> Iterator[Tensor]:
        for _ in range(self.settings.local_epochs):
            order = torch.randperm(len(self.training))
            for begin in range(0, len(order), self.settings.batch_rows):
                yield order[begin : begin + self.settings.batch_rows]


def auc(scores: NDArray[np.float32], labels: NDArray[np.float32]) -> float:
    """Return the area under the ROC curve, ties counted half; 0.5 where there is one class only."""
    bad = labels > 0
    positives, negatives = int(bad.sum()), int((~bad).sum())
    if not positives or not negatives:
        return 0.5
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[place][bad].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _network(inputs: int, hidden: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 1))


def _arrays_of(network: nn.Module) -> ArrayRecord:
    return ArrayRecord({name: Array(value.detach().numpy()) for name, value in network.state_dict().items()})


def _keep(optimizer: torch.optim.Optimizer, network: nn.Module, context: Context) -> None:
    arrays: dict[str, Array] = {}
    steps = 0
    for name, parameter in network.named_parameters():
        state = optimizer.state[parameter]
        arrays[f"exp_avg/{name}"] = Array(state["exp_avg"].numpy())
        arrays[f"exp_avg_sq/{name}"] = Array(state["exp_avg_sq"].numpy())
        steps = int(state["step"])
    context.state[_MOMENTS] = ArrayRecord(arrays)
    context.state[_STEPS] = ConfigRecord({"count": steps})


def _restore(optimizer: torch.optim.Optimizer, network: nn.Module, context: Context) -> None:
    kept = context.state.array_records.get(_MOMENTS)
    if kept is None:
        return
    steps = _whole(context.state.config_records[_STEPS], "count")
    for name, parameter in network.named_parameters():
        optimizer.state[parameter] = {
            "step": torch.tensor(float(steps)),
            "exp_avg": torch.from_numpy(kept[f"exp_avg/{name}"].numpy().copy()),
            "exp_avg_sq": torch.from_numpy(kept[f"exp_avg_sq/{name}"].numpy().copy()),
        }


def _whole(config: Mapping[str, object], name: str) -> int:
    value = config[name]
    if not isinstance(value, int):
        raise InvalidInputError(f"{name}: expected a whole number")
    return value


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _present(contract: FeatureContract | None) -> FeatureContract:
    if contract is None:
        raise InvalidInputError("the default model needs a feature contract")
    return contract


def make() -> Task:
    """Return the task."""
    return DefaultModel()
