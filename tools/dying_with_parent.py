"""Start a command that the kernel ends when the process that started it ends: a demo killed by -9 leaves no daemon.

What is to happen between fork and exec is done here, in a program of its own, since ``preexec_fn`` makes Python fork
where it else would vfork, and a fork of a process with open gRPC channels runs gRPC's handlers: the child then aborts
before its exec now and then (``Epoll1Poller ... Bad file descriptor``, grpc/grpc#43055). Linux alone has the signal.
"""

import ctypes
import os
import pwd
import signal
import sys

_PR_SET_PDEATHSIG = 1


def dying_with_parent(command: list[str], *, by: signal.Signals = signal.SIGKILL, user: str = "") -> list[str]:
    """Return the command line that runs ``command``.

    Args:
        command: a program's path and its arguments.
        by: the signal that ends it when its parent is gone.
        user: who it runs as, with no other groups; empty for the user who starts it.
    """
    return [sys.executable, "-IS", __file__, str(int(by)), user, *command]


def _become(user: str) -> None:
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def main() -> None:
    """Become the command: ``SIGNAL USER PROGRAM [ARGUMENT...]``."""
    by, user, *command = sys.argv[1:]
    if user:
        _become(user)
    # After the change of user, which clears it.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(by))
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
