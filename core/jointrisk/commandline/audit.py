"""``audit list | verify``, the same for both roles. They read the database, so that no daemon has to run."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jointrisk.commandline.options import Json, home

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from jointrisk.store import Store

OpenStore = Callable[[Path], "Store"]
"""Opens the database of a state directory."""

IDENTITY_FILE = "identity.pub"
"""In the state directory: the public identity key that signs the log's heads, hex."""


def audit_app(open_store: OpenStore) -> typer.Typer:
    """Return the command group for one role."""
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The hash-chained audit log.")

    @app.command("list")
    def list_entries(
        context: typer.Context,
        event: Annotated[str, typer.Option(help='Only this event, or "membership." for all that begin so.')] = "",
        last: Annotated[int, typer.Option(help="At most so many, the newest.", min=1)] = 50,
        json: Json = False,
    ) -> None:
        """List what happened, the newest last."""
        _list(open_store(home(context)), event, last, json=json)

    @app.command()
    def verify(
        context: typer.Context,
        key: Annotated[
            list[str] | None,
            typer.Option("--key", help="Identity key (hex) that signed heads, if not this state directory's own."),
        ] = None,
        json: Json = False,
    ) -> None:
        """Compute the whole chain again; exit code 10 and the first bad record when it is not what was written."""
        root = home(context)
        _verify(open_store(root), key or [_own_key(root)], json=json)

    return app


def _list(store: "Store", event: str, last: int, *, json: bool) -> None:
    from jointrisk.commandline.output import show_json, show_table
    from jointrisk.store import AuditLog

    entries = AuditLog(store).newest(last, event=event or None)
    if json:
        show_json([{"seq": e.seq, "time": e.time, "event": e.event, "fields": dict(e.fields)} for e in entries])
        return
    show_table(
        ("seq", "time", "event", "fields"),
        ((e.seq, e.time, e.event, " ".join(f"{k}={v}" for k, v in e.fields.items())) for e in entries),
        empty="Nothing yet.",
    )


def _verify(store: "Store", keys: list[str], *, json: bool) -> None:
    from dataclasses import asdict

    from jointrisk.commandline.output import show_json
    from jointrisk.store import AuditLog

    report = AuditLog(store).verify([_public_key(key) for key in keys if key])
    if json:
        flaw = asdict(report.flaw) if report.flaw else None
        show_json({"records": report.records, "heads": report.heads, "last_hash": report.last_hash.hex(), "flaw": flaw})
    else:
        typer.echo(f"{report.records} record(s) and {report.heads} signed head(s) are sound.")
        typer.echo(f"Last hash: {report.last_hash.hex()}")
    report.require_sound()


def _public_key(text: str) -> "Ed25519PublicKey":
    """Read an identity key.

    Raises:
        InvalidInputError: it is none.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from jointrisk.errors import InvalidInputError

    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    except ValueError:
        raise InvalidInputError(
            f"expected an identity key of 64 hex characters, got {len(text)} characters",
            remedy=f"It stands in {IDENTITY_FILE} of the state directory.",
        ) from None


def _own_key(root: Path) -> str:
    path = root / IDENTITY_FILE
    return path.read_text(encoding="ascii").strip() if path.exists() else ""
