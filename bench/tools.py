"""What the bench scripts share: servers started for the run, wrk, pgbench, and the machine."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
DMED = ROOT / ".venv" / "bin" / "dmed"
LUA = ROOT / "bench" / "lua" / "requests.lua"


@dataclass
class Figures:
    """Repeated measurements of one thing; the median speaks, the spread is told."""

    rates: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p95_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    requests: int = 0
    errors: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    """What the errors were: "refused" for an answer that is none of 2xx and 3xx, else what wrk
    says of the connection ("timeout": no answer for two seconds)."""

    @property
    def told(self) -> str:
        """The errors in words."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items()))
        return f"{self.errors}" + (f" ({kinds})" if kinds else "")

    @property
    def rate(self) -> float:
        return statistics.median(self.rates) if self.rates else 0.0

    @property
    def p50(self) -> float:
        return statistics.median(self.p50_ms) if self.p50_ms else 0.0

    @property
    def p95(self) -> float:
        return statistics.median(self.p95_ms) if self.p95_ms else 0.0

    @property
    def p99(self) -> float:
        return statistics.median(self.p99_ms) if self.p99_ms else 0.0

    @property
    def spread(self) -> str:
        if not self.rates:
            return "not run"
        return f"{min(self.rates):,.0f} to {max(self.rates):,.0f}"


def need(program: str) -> str:
    """A program's path, installed from Debian's packages where we may; else a clear end."""
    if shutil.which(program) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "-qq", program], check=False,
                       capture_output=True)
    found = shutil.which(program)
    if found is None:
        sys.exit(f"bench: {program} is not here; install it and call again")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 120) -> float:
    """Seconds until an address answers at all; ends with the log of a process that died first."""
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        if process.poll() is not None:
            sys.exit(f"bench: the server of {url} ended:\n{log.read_text()[-2000:]}")
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return time.perf_counter() - began
        except urllib.error.HTTPError:
            return time.perf_counter() - began
        except OSError:
            time.sleep(0.02)
    sys.exit(f"bench: {url} did not answer in {seconds} s")


_TICKS = os.sysconf("SC_CLK_TCK")
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * _UNITS[unit]


def wrk(into: Figures, base: str, kind: str, lines: Path, token: str, seconds: int, *,
        target: str = "/", connections: int = 32, threads: int = 1, rate: int = 0) -> None:
    """One run of wrk, at `rate` requests a second or as fast as answers come; its figures are
    added.
    """
    done = subprocess.run(
        [need("wrk"), f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--latency", "-s",
         str(LUA), base, "--", kind, str(lines), token or "-", target, str(rate)],
        capture_output=True, text=True, check=True)
    text = done.stdout
    into.rates.append(float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]))
    into.p50_ms.append(_milliseconds(re.search(r"\n\s+50%\s+(\S+)", text)[1]))
    into.p95_ms.append(_milliseconds(re.search(r"\np95 (\S+)", text)[1]))
    into.p99_ms.append(_milliseconds(re.search(r"\n\s+99%\s+(\S+)", text)[1]))
    into.requests += int(re.search(r"(\d+) requests in", text)[1])
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: (.+)", text)
    found = Counter({"refused": int(failed[1]) if failed else 0})
    found.update({kind: int(count) for kind, count in
                  re.findall(r"(\w+) (\d+)", broken[1] if broken else "")})
    into.kinds += found
    into.errors += found.total()


_REFUSED = re.compile(
    r'dmed_requests_total\{worker="(\d+)",room="(\w*)",status="([45]\d\d)"\} (\d+)')


def statuses(base: str) -> str:
    """What the workers themselves counted of answers that are none of 2xx and 3xx, by room."""
    found: dict[tuple[str, str, str], int] = {}
    for _ in range(20):  # A worker tells of itself alone, and another one answers each time.
        text = urllib.request.urlopen(f"{base}/metrics", timeout=10).read().decode()
        found.update({(worker, room, status): int(count)
                      for worker, room, status, count in _REFUSED.findall(text)})
    kinds: Counter[str] = Counter()
    for (_, room, status), count in found.items():
        kinds[f"{status} {room}"] += count
    return ", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items()))


def pgbench(into: Figures, program: Path, environment: dict[str, str], seconds: int) -> None:
    """One select-only run: plain table of a million rows, prepared, eight clients."""
    done = subprocess.run(
        [str(program), "-S", "-M", "prepared", "-n", "-c", "8", "-j", "1", "-T", str(seconds)],
        capture_output=True, text=True, check=True, env=environment)
    into.rates.append(float(re.search(r"tps = ([\d.]+)", done.stdout)[1]))


class Server:
    """A server process for the length of a block, ended with SIGTERM."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], url: str,
                 log: Path) -> None:
        # An installation keeps its compiled modules; some shells forbid Python to.
        environment = {name: value for name, value in environment.items()
                       if name != "PYTHONDONTWRITEBYTECODE"}
        self.command, self.environment, self.url, self.log = command, environment, url, log
        self.start_seconds = 0.0

    def __enter__(self) -> Self:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(self.command, env=self.environment, stdout=out,
                                            stderr=out, cwd=ROOT, start_new_session=True)
        self.start_seconds = wait_for(self.url, self.process, self.log)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)


def stolen_seconds() -> tuple[float, float]:
    """(seconds that the host gave to its other guests, all seconds) of our processors so far."""
    first = Path("/proc/stat").read_text().partition("\n")[0]
    counts = [int(one) for one in first.split()[1:9]]  # user ... steal; guests are in user.
    return counts[7] / _TICKS, sum(counts) / _TICKS


def workers_memory_mb(parent: int) -> list[float]:
    """Proportional memory (PSS) of the child processes that serve, in MB, largest first."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            status = (folder / "status").read_text()
            command = (folder / "cmdline").read_bytes()
            if int(re.search(r"PPid:\s+(\d+)", status)[1]) != parent or b"postgres" in command:
                continue
            rollup = (folder / "smaps_rollup").read_text()
            found.append(int(re.search(r"Pss:\s+(\d+)", rollup)[1]) / 1024)
        except (OSError, TypeError, ValueError):
            continue
    return sorted(found, reverse=True)


def machine() -> str:
    """One line on the machine."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) / 2**20
    return (f"{os.cpu_count()} cores ({cpu[1].strip() if cpu else 'unknown'}), {memory:.0f} GiB, "
            f"Linux {platform.release()}, Python {platform.python_version()}")
