"""Becomes the command that it is given, as a process that ends with its parent.

    python -I -S child_launcher.py PARENT COMMAND…

It asks the kernel to kill this process when its parent dies, looks whether the parent is the process PARENT still, and
executes COMMAND in its place: what was asked stays. It is run by its path and imports nothing of ours, so that it takes
a few milliseconds. Elsewhere than on Linux nothing is asked: there a tree that is killed leaves its children.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


def main() -> None:
    """Do it."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was asked
        os._exit(1)
    try:
        os.execv(command[0], command)  # noqa: S606 - the tree's own command, without a shell
    except OSError as error:
        sys.exit(f"{command[0]} cannot be executed: {error.strerror}")


if __name__ == "__main__":
    main()
