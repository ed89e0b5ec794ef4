"""``access add | list | revoke``."""

from pathlib import Path
from typing import Annotated

import typer

from jointrisk.commandline.options import Json, home

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Which of the lender's own systems may ask for signals."
)

_Name = Annotated[str, typer.Argument(help="What to call the system; audited with everything that it asks.")]


@app.command()
def add(
    context: typer.Context,
    name: _Name,
    role: Annotated[
        list[str], typer.Option(help="query (single persons) or screen (books). Repeatable.", show_default=False)
    ],
    expires: Annotated[
        str | None, typer.Option(help="A duration such as 90d, or a time (RFC 3339).", show_default="when revoked")
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The system's client certificate (PEM), instead of a token."),
    ] = None,
    json: Json = False,
) -> None:
    """Let a system in. Without a certificate a token is made: it is shown now and never again."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json
    from jointrisk.rpc.v1 import signal_access_pb2 as pb
    from jointrisk.rpc.v1.signal_access_pb2_grpc import NodeAccessOperatorStub

    request = pb.AddAccessRequest(
        name=name,
        roles=role,
        expires_at=_moment(expires),
        certificate=b"" if certificate is None else certificate.read_bytes(),
    )
    with daemon(home(context), "node") as channel:
        answer = NodeAccessOperatorStub(channel).AddAccess(request)
    if json:
        show_json(answer)
    elif answer.token:
        typer.echo(f"{answer.grant.name} may ask with this token, which is not shown again:", err=True)
        typer.echo(answer.token)
    else:
        typer.echo(f"{answer.grant.name} may ask with the certificate {answer.grant.certificate_fingerprint}")


@app.command(name="list")
def list_access(context: typer.Context, json: Json = False) -> None:
    """List the systems that may ask."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json, show_table
    from jointrisk.rpc.v1 import signal_access_pb2 as pb
    from jointrisk.rpc.v1.signal_access_pb2_grpc import NodeAccessOperatorStub

    with daemon(home(context), "node") as channel:
        listed = NodeAccessOperatorStub(channel).ListAccess(pb.ListAccessRequest())
    if json:
        show_json(listed)
        return
    show_table(
        ("system", "roles", "by", "added", "expires", ""),
        (
            (one.name, ", ".join(one.roles), one.by, one.added_at, one.expires_at, "expired" if one.expired else "")
            for one in listed.grants
        ),
        empty="No system may ask. `jointrisk node access add` lets one in.",
    )


@app.command()
def revoke(context: typer.Context, name: _Name) -> None:
    """Take a system's access away, at once."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.rpc.v1 import signal_access_pb2 as pb
    from jointrisk.rpc.v1.signal_access_pb2_grpc import NodeAccessOperatorStub

    with daemon(home(context), "node") as channel:
        NodeAccessOperatorStub(channel).RevokeAccess(pb.RevokeAccessRequest(name=name))
    typer.echo("revoked")


def _moment(expires: str | None) -> str:
    """Return a time: the one that is given, or the end of a duration from now."""
    from jointrisk.clock import rfc3339, utc_now
    from jointrisk.settings import parse_duration

    if not expires:
        return ""
    try:
        return rfc3339(utc_now() + parse_duration(expires))
    except (ValueError, OverflowError):
        return expires
