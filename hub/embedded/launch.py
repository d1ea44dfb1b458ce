"""Becomes another program: drops root, dies with its parent, then execs. Run as a script.

    python -I -S launch.py PARENT_PID SIGNAL UID GID PROGRAM ARGUMENT…

A small program instead of `preexec_fn`, which may deadlock in a process that has threads.
UID -1 keeps the user. SIGNAL is what the program gets when the parent dies without stopping it
(Linux only: elsewhere, as on macOS, it then stays). Start it from the main thread: the kernel
means the thread that forked by the parent (prctl(2), PR_SET_PDEATHSIG).
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def command(program: list[str], at_parent_death: int, uid: int = -1, gid: int = -1) -> list[str]:
    """What to execute for `program`, whose first word is a path."""
    numbers = (os.getpid(), int(at_parent_death), uid, gid)
    return [sys.executable, "-I", "-S", __file__, *map(str, numbers), *program]


def main(argv: list[str]) -> None:
    parent, signal, uid, gid = (int(word) for word in argv[:4])
    os.umask(0o077)
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After the change of user, which clears it.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the process that asked for this one is gone")
    os.execv(argv[4], argv[4:])  # noqa: S606 (becoming another program is the purpose)


if __name__ == "__main__":
    main(sys.argv[1:])
