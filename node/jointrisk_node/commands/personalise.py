"""``models personalise``."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jointrisk.commandline.options import Json, KeyDescriptor, existing_state, home

if TYPE_CHECKING:
    from jointrisk.learning.bundle import Bundle
    from jointrisk.store import AuditLog
    from jointrisk_node.contracts import ContractLedger
    from jointrisk_node.models.personal import PersonalModels
    from jointrisk_node.models.personalising import Outcome
    from jointrisk_node.settings import NodeSettings


def personalise(
    context: typer.Context,
    model_id: Annotated[
        str | None,
        typer.Argument(help="The model's name, or an unambiguous beginning of it.", show_default="the active one"),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Go back to the shared model as it is.")] = False,
    master_key_fd: KeyDescriptor = None,
    json: Json = False,
) -> None:
    """Join a model with one of the node's own loan book, where validation rows say that this is better.

    Works without the daemon; one that runs scores with it at once. Again replaces what was there. The own model never
    leaves this machine, and is kept encrypted.
    """
    with _opened(home(context), model_id, master_key_fd) as here:
        if remove:
            _remove(here, json=json)
        else:
            _personalise(here, json=json)


@dataclass(frozen=True)
class _Here:
    settings: "NodeSettings"
    bundle: "Bundle"
    contracts: "ContractLedger"
    personal: "PersonalModels"
    audit: "AuditLog"

    @property
    def model_id(self) -> str:
        return self.bundle.manifest.model_id

    def record(self, event: str, **more: str | int) -> None:
        self.audit.append(event, model_id=self.model_id, model_digest=self.bundle.digest, **more)


@contextmanager
def _opened(root: Path, model_id: str | None, descriptor: int | None) -> Iterator[_Here]:
    from jointrisk.commandline.options import master_key
    from jointrisk.store import AuditLog
    from jointrisk_node.contracts import ContractLedger
    from jointrisk_node.database import open_database
    from jointrisk_node.membership.belief import pinned_coordinator
    from jointrisk_node.membership.keys import NodeKeys
    from jointrisk_node.models import ModelLedger, active_bundle, stored_bundle
    from jointrisk_node.models.personal import PersonalModels
    from jointrisk_node.settings import load_settings

    state = existing_state(root, "node")
    settings, key, folder = load_settings(state), master_key(state, descriptor), state.path("models")
    store = open_database(state, settings)
    try:
        coordinator = pinned_coordinator(store)
        audit = AuditLog(store, NodeKeys(state, key).identity())
        if model_id is None:
            bundle = active_bundle(store, folder, coordinator)
        else:
            bundle = stored_bundle(folder, ModelLedger(store, folder, audit).find(model_id), coordinator)
        contracts = ContractLedger(store, coordinator, audit)
        yield _Here(settings, bundle, contracts, PersonalModels(state, lambda: key), audit)
    finally:
        store.close()


def _personalise(here: _Here, *, json: bool) -> None:
    from jointrisk_node.models.personalising import own_rows, personalise

    contract = here.contracts.get(here.bundle.manifest.facts.contract_version)
    found = personalise(here.bundle, contract, own_rows(contract, here.settings.data))
    # The record first: what scores is always on record.
    here.record("model.personalised", kept=found.kept, shared_percent=round(found.personal.weight * 100))
    if found.own is None:
        here.personal.remove(here.model_id)
    else:
        here.personal.keep(here.bundle, found.personal, found.own)
    _show(here.model_id, found, json=json)


def _remove(here: _Here, *, json: bool) -> None:
    from jointrisk.commandline.output import show_json

    if here.personal.mark(here.model_id) is not None:
        here.record("model.personalisation_removed")
        here.personal.remove(here.model_id)
    if json:
        show_json({"model_id": here.model_id, "personalised": False})
        return
    typer.echo(f"{here.model_id} scores as it was received")


def _show(model_id: str, found: "Outcome", *, json: bool) -> None:
    from jointrisk.commandline.output import show_json, show_table

    if json:
        show_json(_as_dict(model_id, found))
        return
    typer.echo(f"{model_id}, {found.validation_rows} validation rows of {found.rows} of the loan book")
    show_table(
        ("model", "log loss", "auc", "standard error"),
        (
            (name, f"{one.log_loss:.5f}", f"{one.auc:.4f}", f"{one.auc_error:.4f}")
            for name, one in found.figures.items()
        ),
        empty="",
    )
    typer.echo(_words(found))


def _as_dict(model_id: str, found: "Outcome") -> dict[str, Any]:
    return {
        "model_id": model_id,
        "personalised": found.own is not None,
        "kept": found.kept,
        **asdict(found.personal),
        "rows": found.rows,
        "validation_rows": found.validation_rows,
        "validation": {name: asdict(one) for name, one in found.figures.items()},
    }


def _words(found: "Outcome") -> str:
    one = found.personal
    if found.kept == "shared":
        return "Nothing is better than the shared model as it is: it scores, not personalised."
    if found.kept == "own":
        return "Your own model is better than any mix: it scores alone."
    if not one.weight:
        return f"Your own model, recalibrated, scores alone: scale {one.scale:.3f}, offset {one.offset:+.3f}."
    return (
        f"A mix is best: {one.weight:.0%} of the shared model's log odds, the rest of your own's; "
        f"scale {one.scale:.3f}, offset {one.offset:+.3f}."
    )
