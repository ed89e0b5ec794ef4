"""What a running process has taken: peak memory, and bytes over its connections. Linux, without other programs."""

import ctypes
import os
import socket
import struct
from pathlib import Path

import psutil

_SYS_PIDFD_GETFD = 438
_TCP_INFO_BYTES = 136
_BYTES_ACKED_AND_RECEIVED = struct.Struct("=QQ")
_BYTES_ACKED_OFFSET = 120
_LIBC = ctypes.CDLL(None, use_errno=True)


def peak_rss_mb(pid: int) -> float:
    """Return the most resident memory that a process ever had, MiB; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    kilobytes = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(next(kilobytes, "0")) / 1024


def worker_pids(pid: int, module: str) -> list[int]:
    """Return the children of a daemon that run ``python -m module``."""
    try:
        children = psutil.Process(pid).children()
        return [child.pid for child in children if module in child.cmdline()]
    except psutil.NoSuchProcess:
        return []


def wire_bytes(pid: int, remote_port: int) -> int:
    """Return the bytes sent and received over a process's open TCP connections to a port, TLS and framing included.

    Reads the kernel's own count (``TCP_INFO``) through a duplicate of the process's socket.

    Raises:
        PermissionError: the process is not ours to look into.
    """
    connections = psutil.Process(pid).net_connections("tcp")
    ours = [one for one in connections if one.raddr and one.raddr.port == remote_port]
    return sum(_counted(pid, one.fd) for one in ours)


def _counted(pid: int, descriptor: int) -> int:
    process = os.pidfd_open(pid)
    try:
        duplicate = _LIBC.syscall(_SYS_PIDFD_GETFD, process, descriptor, 0)
    finally:
        os.close(process)
    if duplicate < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    with socket.socket(fileno=duplicate) as opened:
        info = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    return sum(_BYTES_ACKED_AND_RECEIVED.unpack_from(info, _BYTES_ACKED_OFFSET))
