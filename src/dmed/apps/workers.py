"""The worker processes of `dmed serve`: forked, watched, and started anew when one dies.

They share one listening socket that stays open here, so connections wait while a worker starts.
A worker killed from outside is always replaced; workers that end by themselves again and again
as soon as they start (a fault in the installation) end the platform, so that it is seen.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

import msgspec

from dmed.kit.errors import UnavailableError

FAILURES_MAX = 5
"""Workers that ended by themselves, one after the other, before the platform gives up."""
_SOON_SECONDS = 5.0
_PAUSE_SECONDS_MAX = 5.0
_STOP_SECONDS_MAX = 20.0
_TURN_SECONDS = 1.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class Worker(msgspec.Struct):
    """One place for a worker: who fills it, since when, or when it may be filled again."""

    pid: int = 0
    began: float = 0.0
    not_before: float = 0.0
    pause_seconds: float = 0.1


class Workers:
    """Keeps `count` processes alive that each run `work`, until SIGTERM or SIGINT."""

    def __init__(self, count: int, work: Callable[[], None]) -> None:
        self._work = work
        self._places = [Worker() for _ in range(count)]
        self._failures = 0
        self._told: signal.Signals | None = None

    def serve(self) -> None:
        """Returns when all have ended; UnavailableError where they cannot start at all."""
        # What is loaded by now is shared with all workers: no collector shall touch its pages.
        gc.collect()
        gc.freeze()
        # The reading end breaks in every worker when this process dies, whatever killed it.
        self._life, self._line = os.pipe()
        self._woken, waker = os.pipe()
        os.set_blocking(waker, False)
        os.set_blocking(self._woken, False)
        before = {number: signal.signal(number, self._hear) for number in _SIGNALS}
        previous = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        try:
            while self._told is None:
                self._fill()
                select.select([self._woken], [], [], self._until_next())
                self._drain()
                self._collect()
        finally:
            self._stop()
            signal.set_wakeup_fd(previous)
            for number, handler in before.items():
                signal.signal(number, handler)
            for pipe in (self._life, self._line, self._woken, waker):
                os.close(pipe)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._told = signal.Signals(number)

    def _drain(self) -> None:
        try:
            os.read(self._woken, 4096)
        except BlockingIOError:
            return

    def _until_next(self) -> float:
        waiting = [place.not_before for place in self._places if not place.pid]
        return max(0.0, min([_TURN_SECONDS, *(at - time.monotonic() for at in waiting)]))

    def _fill(self) -> None:
        for place in self._places:
            if not place.pid and time.monotonic() >= place.not_before:
                place.began = time.monotonic()
                place.pid = os.fork() or self._be_worker()

    def _be_worker(self) -> int:
        """What the new process does instead of all the above; it never returns."""
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        os.close(self._line)
        threading.Thread(target=_end_with_parent, args=(self._life,), daemon=True).start()
        status = 1
        try:
            self._work()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001  # Nothing of the parent's stack may run in a worker.
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            # Not sys.exit: what the parent registered for its own end must not run here.
            os._exit(status)

    def _collect(self) -> None:
        for place in self._places:
            if not place.pid:
                continue
            pid, status = os.waitpid(place.pid, os.WNOHANG)
            if pid:
                self._ended(place, os.waitstatus_to_exitcode(status))

    def _ended(self, place: Worker, code: int) -> None:
        lived = time.monotonic() - place.began
        soon = lived < _SOON_SECONDS
        how = f"signal {-code}" if code < 0 else f"status {code}"
        sys.stderr.write(f"worker {place.pid} ended after {lived:.1f} s with {how}: a new one "
                         "takes its place\n")
        self._failures = self._failures + 1 if soon and code >= 0 else 0
        if self._failures >= FAILURES_MAX and self._told is None:
            raise UnavailableError(
                f"{self._failures} workers ended as soon as they began, the last with {how}: "
                "what they wrote above says why")
        place.pid = 0
        place.pause_seconds = min(place.pause_seconds * 2, _PAUSE_SECONDS_MAX) if soon else 0.1
        place.not_before = time.monotonic() + (place.pause_seconds if soon else 0.0)

    def _stop(self) -> None:
        """Lets the workers finish what they are at; kills those that do not."""
        self._tell(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS_MAX
        while any(place.pid for place in self._places):
            select.select([self._woken], [], [], 0.1)
            self._drain()
            for place in self._places:
                if place.pid and os.waitpid(place.pid, os.WNOHANG)[0]:
                    place.pid = 0
            if time.monotonic() > deadline:
                self._tell(signal.SIGKILL)

    def _tell(self, number: signal.Signals) -> None:
        for place in self._places:
            if place.pid:
                os.kill(place.pid, number)


def _end_with_parent(life: int) -> None:
    os.read(life, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def listen(host: str, port: int, backlog: int) -> socket.socket:
    """The listening socket; UnavailableError that names the address where it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise UnavailableError(f"cannot listen at {host}:{port}: {error.strerror}") from error
    made.listen(backlog)
    return made
