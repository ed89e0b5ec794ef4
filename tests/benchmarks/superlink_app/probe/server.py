"""FedAvg over eight numbers, writing down when each round ended."""

import json
import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds; the setting ``progress`` names the file for their ends (seconds, monotonic clock)."""
    nodes = int(context.run_config["nodes"])
    progress = Path(str(context.run_config["progress"]))
    ends: list[float] = []

    def note(_round: int, _arrays: ArrayRecord) -> None:
        ends.append(time.monotonic())
        written = progress.with_suffix(".tmp")
        written.write_text(json.dumps(ends))
        written.replace(progress)

    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=nodes, min_evaluate_nodes=0, min_available_nodes=nodes)
    rounds = int(context.run_config["rounds"])
    strategy.start(grid, ArrayRecord([np.zeros(8)]), num_rounds=rounds, timeout=120, evaluate_fn=note)
