"""What would keep this node from working: each point checked by itself, each failure with its mend.

Needs neither the daemon nor the master key. What only the daemon can tell (versions, whether the coordinator takes the
certificate) is asked of it when it runs.
"""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from jointrisk.clock import Clock, rfc3339, utc_now
from jointrisk.commandline.daemon_call import daemon
from jointrisk.errors import JointriskError, UnavailableError
from jointrisk.federation.certificates import certificate_from_der, certificate_to_pem
from jointrisk.federation.names import COORDINATOR_SERVER_NAME
from jointrisk.rpc.v1 import node_operator_pb2 as pb
from jointrisk.rpc.v1.node_operator_pb2_grpc import NodeOperatorStub
from jointrisk.statedir import StateDir
from jointrisk.store import Store
from jointrisk_node.contracts import newest_contract
from jointrisk_node.data import LoanBook
from jointrisk_node.database import open_database
from jointrisk_node.membership.belief import Belief, load_belief
from jointrisk_node.settings import NodeSettings, load_settings

_CONNECT_SECONDS = 5.0
_CLOCK_TOLERANCE = timedelta(minutes=1)


@dataclass(frozen=True)
class Finding:
    """One point.

    Attributes:
        check: what was looked at, a word or two.
        ok: nothing is wrong with it.
        detail: what was found.
        remedy: what to do when it is wrong.
    """

    check: str
    ok: bool
    detail: str
    remedy: str = ""


def diagnose(state: StateDir, clock: Clock = utc_now) -> list[Finding]:
    """Look at everything that can be looked at. A point that depends on one that is wrong is left out.

    Args:
        state: the node's state directory.
        clock: the time here.
    """
    try:
        settings = load_settings(state)
    except JointriskError as error:
        return [_failed("settings", error)]
    findings = [Finding("settings", ok=True, detail=str(state.path("node.toml")))]
    try:
        store = open_database(state, settings)
    except JointriskError as error:
        return [*findings, _failed("database", error)]
    try:
        return [*findings, *_of_membership(store, clock), *_of_data(store, settings), _of_daemon(state.root)]
    finally:
        store.close()


def _of_membership(store: Store, clock: Clock) -> Iterator[Finding]:
    try:
        with store.reading() as session:
            belief = load_belief(session)
    except JointriskError as error:
        yield _failed("membership", error)
        return
    own = belief.own
    yield Finding(
        "membership", not belief.view.removed, f"{own.member_id} of {own.federation}", "Ask for an invitation."
    )
    yield _roster(belief, clock)
    host, _, port = own.coordinator_address.rpartition(":")
    for look in (_resolves, _connects, lambda h, p: _secure(h, p, belief)):
        finding = look(host.strip("[]"), int(port))
        yield finding
        if not finding.ok:
            return


def _roster(belief: Belief, clock: Clock) -> Finding:
    roster, now = belief.view.roster, clock()
    if roster.issued_at > now + _CLOCK_TOLERANCE:
        return Finding(
            "clock",
            ok=False,
            detail=f"it is {rfc3339(now)} here, and the roster was issued at {rfc3339(roster.issued_at)}",
            remedy="This machine's clock is behind: set it by NTP.",
        )
    return Finding(
        "roster",
        ok=now < roster.expires_at,
        detail=f"version {roster.version}, expires {rfc3339(roster.expires_at)}",
        remedy="Run the node where it can reach the coordinator; if it does, check this machine's clock.",
    )


def _resolves(host: str, port: int) -> Finding:
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError as error:
        return Finding(
            "dns", ok=False, detail=f"{host}: {error.strerror}", remedy=f"Make {host} resolve on this machine."
        )
    return Finding("dns", ok=True, detail=f"{host} is {', '.join(sorted(found))}")


def _connects(host: str, port: int) -> Finding:
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        return Finding(
            "port",
            ok=False,
            detail=f"{host}:{port}: {error.strerror or 'no answer'}",
            remedy=f"Is the coordinator running? Allow outbound TCP to {host}:{port} in the firewall.",
        )
    return Finding("port", ok=True, detail=f"{host}:{port} accepts connections")


def _secure(host: str, port: int, belief: Belief) -> Finding:
    """Shake hands as far as the server's certificate; ours would need the master key."""
    context = ssl.create_default_context(
        cadata=certificate_to_pem(certificate_from_der(belief.own.ca_certificate)).decode()
    )
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        with (
            socket.create_connection((host, port), timeout=_CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=COORDINATOR_SERVER_NAME) as secure,
        ):
            return Finding("tls", ok=True, detail=f"{secure.version()}, the coordinator's certificate is in order")
    except ssl.SSLCertVerificationError as error:
        return Finding(
            "tls", ok=False, detail=error.verify_message, remedy=_TLS_MENDS.get(error.verify_code, _TLS_OTHER)
        )
    except OSError as error:
        return Finding("tls", ok=False, detail=type(error).__name__, remedy=_TLS_OTHER)


_TLS_OTHER = "Something between this machine and the coordinator answers in its place (a TLS proxy?): go around it."
_TLS_MENDS = {
    9: "The certificate is not valid yet: this machine's clock is behind, set it by NTP.",
    10: "The certificate has expired: check this machine's clock, then the coordinator's.",
}


def _of_data(store: Store, settings: NodeSettings) -> Iterator[Finding]:
    contract = newest_contract(store)
    if contract is None:
        yield Finding(
            "data", ok=True, detail="the federation's feature contract is not here yet, nothing to check against"
        )
        return
    try:
        report = LoanBook.open(settings.data).check(contract)
    except JointriskError as error:
        yield _failed("data", error)
        return
    yield Finding(
        "data",
        ok=report.ok,
        detail=f"{report.rows} rows against contract version {contract.version}, {len(report.breaches)} breach(es)",
        remedy="See `jointrisk node data check`.",
    )


def _of_daemon(home: Path) -> Finding:
    try:
        with daemon(home, "node") as channel:
            status = NodeOperatorStub(channel).GetStatus(pb.GetNodeStatusRequest(), timeout=_CONNECT_SECONDS)
    except UnavailableError:
        return Finding("daemon", ok=True, detail="not running; start it to check the certificate and the versions too")
    except JointriskError as error:
        return _failed("daemon", error)
    return Finding(
        "daemon",
        status.connected,
        f"connected, jointrisk {status.software_version}, certificate until {status.certificate_expires_at}"
        if status.connected
        else status.detail,
        "See the reason above and the daemon's log.",
    )


def _failed(check: str, error: JointriskError) -> Finding:
    return Finding(check, ok=False, detail=error.message, remedy=error.remedy)
