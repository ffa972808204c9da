"""The open plan of `bench/life.py`: which call when, by whom, on which prescription."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections import Counter, defaultdict, deque
from typing import Any
from urllib.parse import quote

import msgspec

from life_client import Broken, Client, request_of
from life_data import Choice, Data, bundle, marking

CYCLE = ("prescribe", "read", "claim", "medicine", "dispense", "read", "activate", "medicine",
         "claim", "person", "dispense", "read")
KINDS = tuple(dict.fromkeys(CYCLE))
_TURN_SECONDS = 0.002
_READS_KEPT = 4_000
_DISPENSE = re.compile(rb'"MedicationDispense/([^"]+)"')


class Item(msgspec.Struct):
    """One item on its way: what the next call about it needs."""

    number: str
    task: str
    code: str
    choice: Choice
    serial: str
    at: int
    """Whose it is: number of the doctor or pharmacist."""


class Work(msgspec.Struct):
    """One planned call."""

    kind: str
    request: bytes
    subject: Any = None


class Phase:
    """A stretch of the load with one rate, and what came of it."""

    def __init__(self, name: str, rate: float, seconds: float) -> None:
        self.name, self.rate, self.seconds = name, rate, seconds
        self.began = 0.0
        self.wall = seconds
        self.times: dict[str, list[float]] = defaultdict(list)
        """Milliseconds from the planned moment, of accepted calls, by kind."""
        self.seen: list[tuple[float, str, float]] = []
        """(second of the planned moment, kind, ms), -1 ms for what was not accepted."""
        self.refusals: Counter[str] = Counter()
        self.errors: Counter[tuple[str, str]] = Counter()
        self.samples: list[str] = []
        self.ends: Counter[int] = Counter()
        """Accepted answers by the second in which they came."""
        self.unmarked = self.unsent = self.idle = 0
        self.cpu: dict[str, float] = {}

    @property
    def accepted(self) -> int:
        """How many calls were answered as they should be."""
        return sum(map(len, self.times.values()))

    @property
    def accepted_a_second(self) -> float:
        """The same over the length of the phase."""
        return self.accepted / self.seconds

    @property
    def refused(self) -> int:
        """429 and 503 that said when to come again."""
        return sum(self.refusals.values())

    @property
    def error_count(self) -> int:
        """Everything that is neither."""
        return sum(self.errors.values())

    def percentile(self, kind: str, share: float) -> float:
        """Of the times of a kind, in ms."""
        found = sorted(self.times[kind])
        return found[min(len(found) - 1, int(len(found) * share))] if found else 0.0

    def worst_window(self, seconds: int) -> float:
        """Accepted a second in the worst whole window of so many seconds."""
        whole = int(self.seconds)
        windows = [sum(self.ends[at + step] for step in range(seconds)) / seconds
                   for at in range(max(1, whole - seconds + 1))]
        return min(windows)

    def recovery(self, bars: dict[str, float]) -> float:
        """The second after which nothing was refused and every bar (p95 in ms) held."""
        by_second: dict[int, list[tuple[str, float]]] = defaultdict(list)
        for at, kind, ms in self.seen:
            by_second[int(at)].append((kind, ms))
        last = 0
        for second, calls in by_second.items():
            bad = any(ms < 0 for _, ms in calls)
            for kind, most in bars.items():
                mine = sorted(ms for one, ms in calls if one == kind)
                bad = bad or bool(mine and mine[int(len(mine) * 0.95)] > most)
            if bad:
                last = max(last, second + 1)
        return float(last)

    def told(self) -> str:
        """One line for whoever waits."""
        slow = ", ".join(f"{kind} {self.percentile(kind, 0.5):.0f}/"
                         f"{self.percentile(kind, 0.95):.0f}" for kind in KINDS)
        cycles = max(self.accepted / 12, 0.1)
        cpu = ", ".join(f"{name} {seconds / cycles * 1000:.1f}"
                        for name, seconds in self.cpu.items())
        return (f"accepted {self.accepted_a_second:.0f}/s, refused {self.refused}, unmarked "
                f"{self.unmarked}, errors {dict(self.errors)}, unsent {self.unsent}, idle "
                f"{self.idle}; p50/p95 ms: {slow}; ms of processor a cycle: {cpu}"
                + "".join(f"\n  {each}" for each in self.samples))


class Line:
    """Everything that is under way: queues by kind of the next call, and what was acknowledged."""

    def __init__(self, client: Client, data: Data) -> None:
        self.client, self.data = client, data
        self.ready: dict[str, deque[Any]] = {kind: deque() for kind in KINDS}
        self.phases: list[Phase] = []
        self.begun = data.begun
        self.numbers: list[str] = []
        self.activated: list[str] = []
        self.claimed: list[str] = []
        self.dispensed: dict[str, str] = {}
        """Task -> id of the MedicationDispense."""
        self.found: list[str] = []
        self._reads: deque[tuple[str, str]] = deque(maxlen=_READS_KEPT)
        self._count = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()

    async def phase(self, phase: Phase, *, settle: bool = True) -> None:
        """Sends the plan of a phase; with `settle` its last answers are awaited."""
        self.phases.append(phase)
        loop = asyncio.get_running_loop()
        phase.began = began = loop.time()
        total, sent = int(phase.rate * phase.seconds), 0
        while sent < total:
            due = min(total, int((loop.time() - began) * phase.rate) + 1)
            while sent < due:
                self._send(phase, CYCLE[sent % 12], began + sent / phase.rate)
                sent += 1
            await asyncio.sleep(_TURN_SECONDS)
        phase.wall = loop.time() - began
        if settle:
            await self.settle()

    async def settle(self) -> None:
        """Waits for every answer."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _send(self, phase: Phase, kind: str, planned: float) -> None:
        if self.client.is_full:
            phase.unsent += 1
            return
        work = self._work(kind)
        if work is None:
            phase.idle += 1
            work = self._work("read")
        if work is None:
            return
        task = asyncio.get_running_loop().create_task(self._call(phase, work, planned))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, phase: Phase, work: Work, planned: float) -> None:
        kind = work.kind
        try:
            status, head, body = await self.client.send(work.request)
        except Broken:
            status, head, body = 0, b"", b"no answer"
        now = asyncio.get_running_loop().time()
        ms = (now - planned) * 1000
        is_accepted = status in {200, 201}
        phase.seen.append((planned - phase.began, kind, ms if is_accepted else -1.0))
        if is_accepted:
            phase.times[kind].append(ms)
            phase.ends[int(now - phase.began)] += 1
            self._accepted(kind, work.subject, body)
            return
        if work.subject is not None and (status in {0, 429, 503} or status >= 500):
            self.ready[kind].append(work.subject)  # The same act with the same key, later.
        if status in {429, 503}:
            phase.refusals[kind] += b"retry-after:" in head
            phase.unmarked += b"retry-after:" not in head
            return
        phase.errors[kind, str(status)] += 1
        if len(phase.samples) < 5:
            phase.samples.append(f"{kind} {status}: {body[:300]!r}")

    # One call

    def _work(self, kind: str) -> Work | None:
        return getattr(self, f"_{kind}")()

    def _token(self, role: str, number: int) -> str:
        mine = self.data.tokens[role]
        return mine[number % len(mine)]

    def _prescribe(self) -> Work | None:
        if self.ready["prescribe"]:
            number = self.ready["prescribe"].popleft()
        else:
            number, self.begun = self.begun, self.begun + 1
        round_, person = divmod(number, len(self.data.patients))
        pairs = len(self.data.choices) // 2
        pair = self.data.choices[2 * (round_ % pairs) : 2 * (round_ % pairs) + 2]
        body = bundle(self.data.patients[person], pair)
        return Work("prescribe", request_of(
            "POST", "/fhir/MedicationRequest/$prescribe", self._token("doctor", number), body,
            f"prescribe-{number}"), number)

    def _activate(self) -> Work | None:
        if not self.ready["activate"]:
            return None
        items: list[Item] = self.ready["activate"].popleft()
        first = items[0]
        return Work("activate", request_of(
            "POST", f"/fhir/Task/{first.task}/$activate", self._token("doctor", first.at),
            b'{"resourceType":"Parameters"}', f"activate-{first.at}"), items)

    def _claim(self) -> Work | None:
        if not self.ready["claim"]:
            return None
        item: Item = self.ready["claim"].popleft()
        body = msgspec.json.encode({"resourceType": "Parameters", "parameter": [
            {"name": "code", "valueString": item.code}]})
        return Work("claim", request_of(
            "POST", f"/fhir/Task/{item.task}/$claim", self._token("pharmacist", item.at), body),
            item)

    def _dispense(self) -> Work | None:
        if not self.ready["dispense"]:
            return None
        item: Item = self.ready["dispense"].popleft()
        body = msgspec.json.encode({"resourceType": "Parameters", "parameter": [
            {"name": "pack", "part": [
                {"name": "marking", "valueString": marking(item.choice.gtin, item.serial)}]}]})
        return Work("dispense", request_of(
            "POST", f"/fhir/Task/{item.task}/$dispense", self._token("pharmacist", item.at), body,
            f"dispense-{item.serial}"), item)

    def _read(self) -> Work | None:
        count = next(self._count)
        if not self._reads:
            path, role = f"/fhir/Patient/{self.data.patients[count % 100]}", "doctor"
        else:
            path, role = self._reads[count * 7919 % len(self._reads)]
        return Work("read", request_of("GET", path, self._token(role, count)))

    def _medicine(self) -> Work | None:
        count = next(self._count)
        text = self.data.inns[count % len(self.data.inns)]
        return Work("medicine", request_of(
            "GET", f"/fhir/MedicinalProductDefinition?name={quote(text)}&_count=10",
            self._token(("doctor", "pharmacist")[count % 2], count)))

    def _person(self) -> Work | None:
        count = next(self._count)
        text = self.data.names[count % len(self.data.names)]
        return Work("person", request_of(
            "GET", f"/fhir/Patient/$find-person?q={quote(text)}", self._token("doctor", count)))

    # What an answer gives the next calls

    def _accepted(self, kind: str, subject: Any, body: bytes) -> None:
        if kind == "prescribe":
            self._prescribed(subject, msgspec.json.decode(body)["parameter"])
        elif kind == "activate":
            self.activated.append(subject[0].number)
            self.ready["claim"].extend(subject)
        elif kind == "claim":
            self.claimed.append(subject.task)
            self.ready["dispense"].append(subject)
        elif kind == "dispense":
            found = _DISPENSE.search(body)
            # The same key again gives the Task alone: the first answer was lost on its way.
            self.dispensed[subject.task] = found[1].decode() if found else ""

    def _prescribed(self, number: int, parameters: list[dict[str, Any]]) -> None:
        values = {each["name"]: each.get("valueString", "") for each in parameters}
        tasks = [each["resource"] for each in parameters if each["name"] == "task"]
        pairs = len(self.data.choices) // 2
        start = 2 * (number // len(self.data.patients) % pairs)
        items = [Item(values["number"], task["id"], values["code"], self.data.choices[start + at],
                      f"L{number:08d}{at}{int(time.time()) % 1000:03d}", number)
                 for at, task in enumerate(tasks)]
        self.numbers.append(values["number"])
        self.ready["activate"].append(items)
        self._reads += [(f"/fhir/Task/{tasks[0]['id']}", "doctor"),
                        (f"/fhir/{tasks[1]['focus']['reference']}", "doctor"),
                        (f"/fhir/{tasks[0]['for']['reference']}", "doctor")]
