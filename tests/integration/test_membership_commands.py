"""Membership through the command line, with real daemons: founding, approvals, changed keys, removal, renewal."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from jointrisk.operator_socket import operator_socket
from local_federation import CommandFailedError, Daemon, LocalFederation, wait_until

pytestmark = pytest.mark.federation
FOUNDERS = ("bank", "consumer-finance", "instalment")


def found(federation: LocalFederation) -> None:
    """Let the three founders join and start."""
    for name in FOUNDERS:
        federation.add_node(name)
    federation.wait_online()


def member(listed: Any, name: str) -> dict[str, Any]:
    """Return one member of a list."""
    found_members = [one for one in listed["members"] if one["member_id"] == name]
    assert len(found_members) == 1
    only: dict[str, Any] = found_members[0]
    return only


def events(daemon: Daemon) -> list[str]:
    """Return the audit log's events."""
    return [entry["event"] for entry in daemon.json("audit", "list", "--last", "1000")]


def knows(node: Daemon, name: str, state: str) -> bool:
    """Tell whether a node lists a member in this state."""
    listed = node.json("members", "list")["members"]
    return any(one["member_id"] == name and one["state"] == state for one in listed)


def test_founders_join_by_token_and_read_the_same_fingerprints(federation: LocalFederation) -> None:
    """Three tokens make three members, all online, and all read one authentication string."""
    found(federation)
    listed = federation.coordinator.json("members")["members"]
    assert [(one["member_id"], one["state"], one["online"]) for one in listed] == [
        (name, "member", True) for name in FOUNDERS
    ]

    def strings() -> set[str]:
        return {node.json("fingerprints")["federation"] for node in federation.nodes.values()}

    wait_until(lambda: len(strings()) == 1, "one authentication string at all founders")
    status = federation.nodes["bank"].json("status")
    assert (status["member_id"], status["connected"]) == ("bank", True)
    for daemon in (federation.coordinator, *federation.nodes.values()):
        daemon.command("audit", "verify")


def test_a_later_member_waits_for_two_people(federation: LocalFederation) -> None:
    """The fourth member is pending until two members' people approve the fingerprint that they compared."""
    found(federation)
    late = federation.add_node("late", join=False)
    token = federation.invite("late")
    with pytest.raises(CommandFailedError, match="approv"):
        late.command("join", token, "--no-wait", with_key=True)
    fingerprint = member(federation.coordinator.json("members"), "late")["fingerprint"]
    assert member(federation.coordinator.json("members"), "late")["state"] == "pending"

    with pytest.raises(CommandFailedError) as wrong:
        federation.nodes["bank"].command("members", "approve", "late", "--fingerprint", "0000-0000")
    assert wrong.value.code in (2, 5)
    first = federation.nodes["bank"].json("members", "approve", "late", "--fingerprint", fingerprint)
    assert (first["approvals"], first["admitted"]) == (1, False)
    again = federation.nodes["bank"].json("members", "approve", "late", "--fingerprint", fingerprint)
    assert again["approvals"] == 1, "one member counts once"
    second = federation.nodes["instalment"].json("members", "approve", "late", "--fingerprint", fingerprint)
    assert (second["approvals"], second["admitted"]) == (2, True)

    late.command("join", token, with_key=True)
    late.start()
    federation.wait_online("late")
    wait_until(lambda: knows(federation.nodes["consumer-finance"], "late", "member"), "the roster to reach a third")


def test_a_removed_member_is_cut_off_at_once_and_stays_out(federation: LocalFederation) -> None:
    """Its stream closes, its certificate is refused from then on, others learn it, and it is written down."""
    found(federation)
    removal = federation.coordinator.json("remove", "instalment", "--reason", "left the federation")
    assert removal["streams_closed"] == 1
    wait_until(
        lambda: not member(federation.coordinator.json("members"), "instalment")["online"], "the stream to close", 10
    )
    out = federation.nodes["instalment"]
    wait_until(lambda: "certificate" in out.json("status")["detail"], "the removed node to say why")
    wait_until(lambda: not knows(federation.nodes["bank"], "instalment", "member"), "the others to learn it")
    assert "membership.removed" in events(federation.coordinator)

    out.stop()
    out.start()
    wait_until(lambda: "rpc.refused" in events(federation.coordinator), "the refusal to be written down")
    assert not member(federation.coordinator.json("members"), "instalment")["online"]
    with pytest.raises(CommandFailedError):
        federation.invite("instalment")


@pytest.mark.slow  # its rules are unit tests of the office and of the node
def test_a_changed_key_needs_approvals_and_every_member_accepts_it(federation: LocalFederation) -> None:
    """A member that lost its disk comes back with other keys: nobody uses them before a person has said so."""
    found(federation)
    federation.nodes["bank"].stop()
    new = federation._daemon("node", "bank-again")
    new.command("init", with_key=True)
    token = federation.invite("bank", "--replace-key")
    with pytest.raises(CommandFailedError, match="approv"):
        new.command("join", token, "--no-wait", with_key=True)
    consumer, instalment = (federation.nodes[name] for name in FOUNDERS[1:])
    pending = [one for one in federation.coordinator.json("members")["members"] if one["state"] == "pending"]
    for node in (consumer, instalment):
        node.command("members", "accept", "bank", "--fingerprint", pending[0]["fingerprint"])
    new.command("join", token, with_key=True)
    new.start()
    federation.nodes["bank"] = new
    federation.wait_online("bank")
    for node in (consumer, instalment):
        wait_until(lambda node=node: knows(node, "bank", "member"), "the new key to be pinned")  # type: ignore[misc]


@pytest.mark.slow
def test_certificates_renew_by_themselves(tmp_path: Path) -> None:
    """With certificates of twenty seconds, a node is still there after its first has expired."""
    with LocalFederation(tmp_path / "federation") as federation:
        federation.init_coordinator('[certificates]\nlifetime = "20s"\n')
        federation.coordinator.start()
        federation.add_node("bank")
        federation.wait_online("bank")

        def expiry() -> datetime:
            return datetime.fromisoformat(federation.nodes["bank"].json("status")["certificate_expires_at"])

        first = expiry()
        wait_until(lambda: expiry() > first, "the certificate to be renewed", 40)
        wait_until(lambda: datetime.now(first.tzinfo) > first, "the first one to expire", 40)
        federation.nodes["bank"].stop()
        federation.nodes["bank"].start()
        federation.wait_online("bank")


def test_a_daemon_says_so_when_another_holds_its_state(federation: LocalFederation) -> None:
    """One daemon per state directory."""
    with pytest.raises(CommandFailedError, match="another process") as caught:
        federation.coordinator.command("run", with_key=True)
    assert caught.value.code == 4


def test_the_operator_socket_is_private_and_gone_after_a_stop(federation: LocalFederation) -> None:
    """0600, in a directory that is 0700; a command without a daemon says how to start it."""
    home = federation.coordinator.home
    socket = operator_socket(home)
    assert socket.parent.stat().st_mode & 0o777 == 0o700
    assert socket.stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700
    assert federation.coordinator.stop() == 0
    assert not socket.exists()
    with pytest.raises(CommandFailedError, match="Start it with") as caught:
        federation.coordinator.command("members")
    assert caught.value.code == 7


def test_the_wrong_master_key_opens_nothing(federation: LocalFederation) -> None:
    """The daemon refuses to start with another key, in words."""
    federation.coordinator.stop()
    federation.coordinator.key_file.unlink()
    federation.coordinator.key_file.write_bytes(b"k" * 32)
    with pytest.raises(CommandFailedError, match="does not open") as caught:
        federation.coordinator.command("run", with_key=True)
    assert caught.value.code == 5
