"""Runs with secure sums over real sockets, with real worker processes."""

from pathlib import Path

import numpy as np

from jointrisk.federation.policy import RunPolicy
from jointrisk.learning import checkpoint
from jointrisk.learning.flower import values
from jointrisk_coordinator.runs.ledger import RunView
from rounds import World, rounds

PROBE = 'task = "probe"\nrounds = 3\n[task_settings]\npayload_bytes = 4000\n'
EITHER = RunPolicy(plain_aggregation=True)


async def test_secure_run_gives_what_a_plain_one_gives(tmp_path: Path) -> None:
    """Weighted by rows, with members' own state from round to round: to the fixed point's step in every round."""
    async with rounds(tmp_path, policy=EITHER) as (world, office, _links):
        plain = await office.follow(await office.supervisor.start('aggregation = "plain"\n' + PROBE))
        secure = await office.follow(await office.supervisor.start(PROBE))
        assert (plain.state, secure.state) == ("done", "done"), (plain.detail, secure.detail)
        expected, found = (trained(world, run) for run in (plain, secure))
        assert np.abs(found - expected).max() < 1e-6
        assert not np.array_equal(found, expected)
        assert abs(secure.history[-1].metrics["rounds_kept"] - 3) < 1e-6
        kept = secure.history[-1].guarantee
        assert {name: kept[name] for name in ("mode", "members", "colluders", "threshold", "minimum")} == {
            "mode": "secure",
            "members": 3,
            "colluders": 1,
            "threshold": 3,
            "minimum": 3,
        }
        assert plain.history[-1].guarantee["mode"] == "plain"


def trained(world: World, run: RunView) -> np.ndarray:
    """Return the arrays after a run's last round."""
    folder = world.folder / "coordinator" / "runs" / run.run_id / "checkpoints"
    return values(checkpoint.load(folder, run.rounds_done, run.arrays_sha256).arrays["payload"]).astype(np.float64)
