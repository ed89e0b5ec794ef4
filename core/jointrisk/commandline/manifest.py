"""A model's manifest as people and programs see it."""

import json as json_module
from typing import TYPE_CHECKING, Any

from jointrisk.commandline.output import show_fields, show_json

if TYPE_CHECKING:
    from jointrisk.rpc.v1.model_pb2 import ModelDescription


def show_manifest(described: "ModelDescription", *, json: bool, personalised: bool | None = None) -> None:
    """Print what a daemon says of a model.

    Args:
        described: its answer.
        json: the whole manifest, for programs.
        personalised: whether a node scores with it and a model of its own; None where nobody scores.
    """
    manifest = json_module.loads(described.manifest)
    if json:
        mark = {} if personalised is None else {"personalised": personalised}
        show_json({"state": described.state, **mark, "sha256": described.sha256, "manifest": manifest})
        return
    facts, lineage = manifest["facts"], manifest["lineage"]
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in sorted(facts["metrics"].items()))
    show_fields(
        {
            "model": described.model_id,
            "state": f"{described.state}, personalised" if personalised else described.state,
            "sha-256": described.sha256,
            "task": f"{facts['task']}, {facts['architecture']}",
            "contract": f"version {facts['contract_version']}, {facts['contract_digest']}",
            "metrics": metrics,
            "run": f"{lineage['run_id']}, started {lineage['started_at']}",
            "members": ", ".join(lineage["members"]),
            "rounds": f"{facts['rounds']}, best {facts['best_round']}, {facts['strategy']}",
            "code": facts["code_version"],
            "aggregation": _aggregation(facts["privacy"]),
            "differential privacy": facts["privacy"]["differential_privacy"],
        }
    )


def _aggregation(privacy: dict[str, Any]) -> str:
    if privacy["aggregation"] != "secure":
        return str(privacy["aggregation"])
    return (
        f"secure: of {privacy['members']} members, {privacy['colluders']} may collude with the coordinator; "
        f"{privacy['threshold']} sign each sum, at least {privacy['minimum']} are in it"
    )
