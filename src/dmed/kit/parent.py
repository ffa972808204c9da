"""Processes that end with the one that started them. Linux, prctl(2)."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)  # Loaded before any fork.


def end_with_parent(how: signal.Signals = signal.SIGKILL, parent: int = 0) -> None:
    """Asks for `how` when the thread that started the calling process ends, even by being killed:
    nothing that was started stays behind and holds memory, locks or connections.

    `parent`: its process, where it may have ended before this is called.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, how)
    if parent and os.getppid() != parent:
        os.kill(os.getpid(), how)
