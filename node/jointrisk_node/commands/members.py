"""``fingerprints`` and ``members list | approve | accept``."""

from typing import TYPE_CHECKING, Annotated

import typer

from jointrisk.commandline.options import Json, home

if TYPE_CHECKING:
    from jointrisk.rpc.v1.node_operator_pb2_grpc import NodeOperatorStub

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="The federation's members, as this node knows them."
)
Name = Annotated[str, typer.Argument(help="The member's name.")]
Compared = Annotated[
    str | None,
    typer.Option(
        "--fingerprint", help="The fingerprint that you compared, instead of being asked.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands that stand directly under ``jointrisk node``."""
    app.command()(fingerprints)


def fingerprints(context: typer.Context, json: Json = False) -> None:
    """Print what founding members compare out of band: by telephone, or in one room."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json, show_table
    from jointrisk.rpc.v1 import node_operator_pb2 as pb
    from jointrisk.rpc.v1.node_operator_pb2_grpc import NodeOperatorStub

    with daemon(home(context), "node") as channel:
        answer = NodeOperatorStub(channel).GetFingerprints(pb.GetFingerprintsRequest())
    if json:
        show_json(answer)
        return
    typer.echo(f"Federation   {answer.federation}")
    typer.echo("             the same at every member, or somebody is in between\n")
    rows = [("coordinator", answer.coordinator)] + [(m.member_id, m.fingerprint) for m in answer.members]
    show_table(("member", "identity key"), rows, empty="")


@app.command("list")
def list_members(context: typer.Context, json: Json = False) -> None:
    """List members, and candidates that wait for approvals."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json, show_table
    from jointrisk.rpc.v1 import coordinator_operator_pb2 as members
    from jointrisk.rpc.v1.node_operator_pb2_grpc import NodeOperatorStub

    with daemon(home(context), "node") as channel:
        listed = NodeOperatorStub(channel).ListMembers(members.ListMembersRequest())
    if json:
        show_json(listed)
        return
    show_table(
        ("member", "state", "fingerprint", "joined", "approvals"),
        (
            (
                member.member_id,
                member.state,
                member.fingerprint,
                member.joined_at,
                f"{member.approvals} of {member.approvals_required}" if member.approvals_required else "",
            )
            for member in listed.members
        ),
        empty="No roster yet.",
    )


@app.command()
def approve(context: typer.Context, name: Name, fingerprint: Compared = None, json: Json = False) -> None:
    """Approve a candidate, after comparing the fingerprint with the candidate's own people."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json
    from jointrisk.rpc.v1 import node_operator_pb2 as pb
    from jointrisk.rpc.v1.node_operator_pb2_grpc import NodeOperatorStub

    with daemon(home(context), "node") as channel:
        stub = NodeOperatorStub(channel)
        compared = fingerprint or _compare(stub, name, "pending")
        answer = stub.ApproveMember(pb.ApproveMemberRequest(member_id=name, fingerprint=compared))
    if json:
        show_json(answer)
        return
    end = "it is a member now" if answer.admitted else "it becomes a member when the others have approved"
    typer.echo(f"{name}: {answer.approvals} of {answer.approvals_required} approvals; {end}.")


@app.command()
def accept(context: typer.Context, name: Name, fingerprint: Compared = None, json: Json = False) -> None:
    """Accept a member's changed identity key, after comparing the new fingerprint with its people."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json
    from jointrisk.rpc.v1 import node_operator_pb2 as pb
    from jointrisk.rpc.v1.node_operator_pb2_grpc import NodeOperatorStub

    with daemon(home(context), "node") as channel:
        stub = NodeOperatorStub(channel)
        compared = fingerprint or _compare(stub, name, "key changed")
        answer = stub.AcceptMember(pb.AcceptMemberRequest(member_id=name, fingerprint=compared))
    if json:
        show_json(answer)
        return
    typer.echo(f"{name}: the new key is pinned." if answer.pinned else f"{name}: approved; not in the roster yet.")


def _compare(stub: "NodeOperatorStub", name: str, state: str) -> str:
    """Show the fingerprint and have a person confirm it.

    Raises:
        InvalidInputError: nobody can be asked.
        NotFoundError: there is no such candidate.
    """
    import sys

    from jointrisk.errors import InvalidInputError, NotFoundError
    from jointrisk.rpc.v1 import coordinator_operator_pb2 as members

    listed = stub.ListMembers(members.ListMembersRequest()).members
    found = [member for member in listed if member.member_id == name and member.state in (state, "pending")]
    if not found:
        raise NotFoundError(f"nothing waits for a decision about {name!r}", remedy="See `jointrisk node members list`.")
    if not sys.stdin.isatty():
        raise InvalidInputError(
            "a person has to compare the fingerprint, and there is no terminal",
            remedy="Give the compared one with --fingerprint.",
        )
    typer.echo(f"{name} says its identity key is\n\n    {found[0].fingerprint}\n")
    typer.confirm("Have you compared it with that institution's people, and is it the same?", abort=True)
    return found[0].fingerprint
