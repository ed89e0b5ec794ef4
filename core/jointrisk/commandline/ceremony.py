"""A key ceremony, shown to people."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from jointrisk.rpc.v1.ceremony_operator_pb2 import CeremonyStatus


def show_ceremony(status: "CeremonyStatus", *, json: bool) -> None:
    """Print how a ceremony stands."""
    from jointrisk.commandline.output import show_fields, show_json, show_table

    if json:
        show_json(status)
        return
    show_fields(
        {
            "ceremony": status.ceremony_id,
            "what": f"{status.kind}: epoch {status.epoch}, generation {status.generation} of shares",
            "holders": f"{status.threshold} of {len(status.holders)}: {', '.join(status.holders)}",
            "dealers": ", ".join(status.dealers),
            "terms": status.terms_fingerprint,
            "state": status.state,
            "detail": status.detail,
            "waiting for": f"approval by {', '.join(status.waiting_for)}" if status.waiting_for else "",
            "waits for": f"messages of {', '.join(status.missing)}" if status.missing else "",
            "group key": status.group_key,
        }
    )
    typer.echo("")
    show_table(
        ("party", "role", "approved", "posted"),
        (
            (party.member_id, party.role, "yes" if party.approved else "", ", ".join(party.posted))
            for party in status.parties
        ),
        empty="",
    )
