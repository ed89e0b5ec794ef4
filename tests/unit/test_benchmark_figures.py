"""What the benchmarks read of running processes."""

import os
import socket
import subprocess
import sys
import threading

import psutil
import pytest

from benchmarks.process_figures import peak_rss_mb, wire_bytes, worker_pids


def test_bytes_over_a_connection_are_counted_both_ways() -> None:
    """What was sent and what was received add up; connections to other ports don't count."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0] as peer:
            client.sendall(b"x" * 30_000)
            peer.sendall(b"y" * 7_000)
            _receive(peer, 30_000)
            _receive(client, 7_000)
            try:
                counted = wire_bytes(os.getpid(), port)
            except PermissionError:
                pytest.skip("this machine lets no process look at another's sockets")
            assert counted == pytest.approx(37_000, abs=1)
            assert wire_bytes(os.getpid(), 1) == 0


def _receive(end: socket.socket, count: int) -> None:
    while count:
        count -= len(end.recv(count))


def test_peak_memory_stays_after_the_memory_is_given_back() -> None:
    """The peak of a process that held 64 MiB for a moment is told, not what it holds now."""
    code = "held = bytearray(b'x') * (64 << 20); del held; print('freed', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"freed\n"
        assert peak_rss_mb(child.pid) >= 64
        assert psutil.Process(child.pid).memory_info().rss < 64 << 20
        child.kill()
    assert peak_rss_mb(2**22 + 1) == 0.0


def test_workers_are_found_by_their_module() -> None:
    """Only the children that run the module, and none of a process that is gone."""
    child = subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "0"], stderr=subprocess.DEVNULL
    )
    timer = threading.Timer(30, child.kill)
    timer.start()
    try:
        assert worker_pids(os.getpid(), "http.server") == [child.pid]
        assert worker_pids(os.getpid(), "jointrisk_node.nothing") == []
        assert worker_pids(2**22 + 1, "http.server") == []
    finally:
        timer.cancel()
        child.kill()
        child.wait()
