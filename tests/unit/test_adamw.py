"""Our AdamW against torch's own."""

import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from jointrisk.learning.adamw import AdamW


def _network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))


def _loss(network: nn.Module, number: int) -> torch.Tensor:
    rows = torch.randn(16, 5, generator=torch.Generator().manual_seed(number))
    loss: torch.Tensor = (network(rows) - rows[:, :1]).square().mean()
    return loss


def _weights(network: nn.Module) -> list[bytes]:
    return [value.numpy().tobytes() for value in network.state_dict().values()]


def test_it_makes_the_steps_of_torchs_own() -> None:
    """After twenty steps every weight has the same bits."""
    ours, theirs = _network(), _network()
    mine = AdamW(ours, learning_rate=2e-3, weight_decay=0.01)
    reference = torch.optim.AdamW(theirs.parameters(), lr=2e-3, weight_decay=0.01)
    for number in range(20):
        for network, optimizer in ((ours, mine), (theirs, reference)):
            optimizer.zero_grad()
            _loss(network, number).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    assert _weights(ours) == _weights(theirs)


def test_a_restored_one_goes_on_as_if_nothing_had_been() -> None:
    """Moments and number of steps are all of its state."""
    whole, parted = _network(), _network()
    one = AdamW(whole, learning_rate=0.1, weight_decay=0.0)
    two = AdamW(parted, learning_rate=0.1, weight_decay=0.0)
    for number in range(6):
        if number == 3:
            before, two = two, AdamW(parted, learning_rate=0.1, weight_decay=0.0)
            two.restore(before.steps, before.first, before.second)
        for network, optimizer in ((whole, one), (parted, two)):
            optimizer.zero_grad()
            _loss(network, number).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    assert _weights(whole) == _weights(parted)


_TRAIN = """
import sys
import numpy as np
from contract_sample import sample_contract
from jointrisk.learning.flower import ConfigRecord, Context, RecordDict, act_as, instruction
from jointrisk.learning.tasks import Assignment, MemberData, load_task
from jointrisk.learning.tasks.settings import DefaultModelSettings
act_as("run", 1)
task, settings, contract = load_task("default_model"), DefaultModelSettings(), sample_contract()
rows = MemberData(np.ones((40, 4), dtype=np.float32), np.arange(40, dtype=np.uint8) % 2)
content = {"arrays": task.initial_arrays(settings, contract, 1), "config": ConfigRecord({"server-round": 1})}
app = task.client_app(Assignment(settings, 1, 1, contract, rows))
app(instruction(RecordDict(content), "train", 1, "message", "1"), Context(1, 1, {}, RecordDict(), {}))
print("torch._dynamo" in sys.modules)
"""


def test_torchs_compiler_stays_out(tmp_path: Path) -> None:
    """Training neither loads the compiler nor makes the folder that it keeps in the temporary directory."""
    done = subprocess.run(
        [sys.executable, "-c", _TRAIN],
        env={"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
    assert list(tmp_path.iterdir()) == []
