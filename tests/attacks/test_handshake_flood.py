"""Many handshakes at once: anybody who reaches the port can begin them, with a certificate or without."""

import contextlib
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from jointrisk.federation import certificates as pki
from jointrisk.federation.names import COORDINATOR, COORDINATOR_SERVER_NAME
from jointrisk.rpc import tls

HANDSHAKES = 1200
AT_ONCE = 16


def test_a_flood_of_handshakes_leaves_the_server_alive(tmp_path: Path) -> None:
    """GRPC once died within seconds of it: each handshake replaced the configuration that others were using."""
    _write_federation(tmp_path)
    contexts = [_context(tmp_path, member=True), _context(tmp_path, member=False)] * (HANDSHAKES // 2)
    command = [sys.executable, __file__, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            with ThreadPoolExecutor(AT_ONCE) as pool:
                completed = sum(pool.map(lambda context: _handshake(context, port), contexts))
            assert server.poll() is None
            assert completed == HANDSHAKES // 2
        finally:
            server.kill()


def test_the_configuration_is_replaced_only_when_the_certificate_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the flood finds by chance, without chance: asked at each handshake, there is nothing new but a renewal."""
    asked: list[Callable[[], grpc.ServerCertificateConfiguration | None]] = []
    monkeypatch.setattr(grpc, "dynamic_ssl_server_credentials", lambda _first, fetch, **_: asked.append(fetch))
    _write_federation(tmp_path)
    pairs = {name: _pair(tmp_path, name) for name in ("server", "member")}
    current = "server"
    tls.server_credentials(lambda: pairs[current], (tmp_path / "ca.pem").read_bytes())
    assert [asked[0](), asked[0]()] == [None, None]
    current = "member"
    assert asked[0]() is not None
    assert asked[0]() is None


def _pair(folder: Path, name: str) -> pki.KeyPair:
    return pki.KeyPair((folder / f"{name}.key").read_bytes(), (folder / f"{name}.crt").read_bytes())


def _context(folder: Path, *, member: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.set_alpn_protocols(["h2"])
    if member:
        context.load_cert_chain(folder / "member.pem")
    return context


def _handshake(context: ssl.SSLContext, port: int) -> bool:
    """Shake hands once; return whether the server went along."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=30) as opened,
        context.wrap_socket(opened, server_hostname=COORDINATOR_SERVER_NAME) as secured,
    ):
        # In TLS 1.3 a client that is refused hears of it when it reads. The server speaks first: its settings.
        return len(secured.recv(1)) == 1
    return False


def _write_federation(folder: Path) -> None:
    now, day = datetime.now(UTC), timedelta(days=1)
    key = pki.new_transport_key()
    issuer = pki.Issuer(pki.issue_authority("test", key, now=now, lifetime=day), key)
    (folder / "ca.pem").write_bytes(pki.certificate_to_pem(issuer.certificate))
    for file, name in (("server", COORDINATOR), ("member", "ant")):
        own = pki.new_transport_key()
        leaf = pki.issue_leaf(issuer, own.public_key(), federation="test", member_id=name, now=now, lifetime=day)
        (folder / f"{file}.key").write_bytes(pki.key_to_pem(own))
        (folder / f"{file}.crt").write_bytes(pki.certificate_to_pem(leaf))
        (folder / f"{file}.pem").write_bytes(pki.key_to_pem(own) + pki.certificate_to_pem(leaf))


def _serve(folder: Path) -> None:
    """Serve with the credentials of the real servers until killed."""
    pair = _pair(folder, "server")
    server = grpc.server(ThreadPoolExecutor(2))
    credentials = tls.server_credentials(lambda: pair, (folder / "ca.pem").read_bytes())
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
