"""``invite``, ``members``, ``remove``."""

from typing import TYPE_CHECKING, Annotated

import typer

from jointrisk.commandline.options import Json, home

if TYPE_CHECKING:
    from jointrisk.rpc.v1 import coordinator_operator_pb2 as pb

Name = Annotated[str, typer.Argument(help="The member's name: small letters, digits, hyphens; 40 at most.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``jointrisk coordinator``."""
    app.command()(invite)
    app.command()(members)
    app.command()(remove)


def invite(
    context: typer.Context,
    name: Name,
    valid_hours: Annotated[int, typer.Option(help="Hours until the token expires.", min=1, max=720)] = 72,
    replace_key: Annotated[
        bool, typer.Option("--replace-key", help="The member exists and comes back with new keys.")
    ] = False,
    json: Json = False,
) -> None:
    """Print a one-time invitation token. Hand it over by a channel that both people trust."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json
    from jointrisk.rpc.v1 import coordinator_operator_pb2 as pb
    from jointrisk.rpc.v1.coordinator_operator_pb2_grpc import CoordinatorOperatorStub

    request = pb.InviteRequest(member_id=name, valid_seconds=valid_hours * 3600, replace_key=replace_key)
    with daemon(home(context), "coordinator") as channel:
        invitation = CoordinatorOperatorStub(channel).Invite(request)
    if json:
        show_json(invitation)
        return
    typer.echo(invitation.token)
    typer.echo(
        f"For {invitation.member_id}, until {invitation.expires_at}, once. There: jointrisk node join TOKEN",
        err=True,
    )


def members(context: typer.Context, json: Json = False) -> None:
    """List members, and admissions that wait for approvals."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json
    from jointrisk.rpc.v1 import coordinator_operator_pb2 as pb
    from jointrisk.rpc.v1.coordinator_operator_pb2_grpc import CoordinatorOperatorStub

    with daemon(home(context), "coordinator") as channel:
        listed = CoordinatorOperatorStub(channel).ListMembers(pb.ListMembersRequest())
    if json:
        show_json(listed)
        return
    _show(listed)


def _show(listed: "pb.MemberList") -> None:
    from jointrisk.commandline.output import show_table

    show_table(
        ("member", "state", "online", "fingerprint", "certificate until", "approvals"),
        (
            (
                member.member_id,
                member.state,
                "yes" if member.online else "no",
                member.fingerprint,
                member.certificate_expires_at,
                f"{member.approvals} of {member.approvals_required}" if member.approvals_required else "",
            )
            for member in listed.members
        ),
        empty="No members yet. Make an invitation with `jointrisk coordinator invite NAME`.",
    )


def remove(
    context: typer.Context,
    name: Name,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")],
    json: Json = False,
) -> None:
    """End a membership now: streams are closed, the certificate is refused, the roster goes on without it."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json
    from jointrisk.rpc.v1 import coordinator_operator_pb2 as pb
    from jointrisk.rpc.v1.coordinator_operator_pb2_grpc import CoordinatorOperatorStub

    with daemon(home(context), "coordinator") as channel:
        removal = CoordinatorOperatorStub(channel).Remove(pb.RemoveRequest(member_id=name, reason=reason))
    if json:
        show_json(removal)
        return
    typer.echo(
        f"{name} is removed: roster version {removal.roster_version}, {removal.streams_closed} stream(s) closed."
    )
    if removal.holds_share:
        typer.echo("It holds a share of the key: pass the key on with `jointrisk coordinator ceremony reshare`.")
