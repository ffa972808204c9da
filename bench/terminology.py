"""Terminology of 100,000 codes: expansion as you type, $lookup and $validate-code.

    python bench/terminology.py [--codes 100000] [--seconds 10] [--http] [--spent]

Without --http the library alone is measured, in this process. With --http the whole platform is
started with two workers and asked by wrk over GET, signed in and audited, as `bench/run.py` does.
With --spent one worker without HTTP answers in this process, which tells the processor time of a
request and where it goes, as `bench/spent.py` does; that is true on a busy machine too.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import random
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

import msgspec
import uvloop

from dmed.apps.database import database
from dmed.apps.web import Platform
from dmed.fhir.terminology import Library
from dmed.fhir.terminology.check import Ask, in_set
from dmed.fhir.terminology.expand import Wish, expansion
from dmed.fhir.terminology.lookup import lookup
from dmed.fhir.terminology.model import Coding
from dmed.kit import settings as settings_module
from dmed.trust.model import Role, Subject
from spent import many, sender, shares
from tools import DMED, Figures, Server, free_port, machine, wrk

SYSTEM = "https://example.org/fhir/CodeSystem/synthetic"
SET = "https://example.org/fhir/ValueSet/synthetic"
WARM_SECONDS_MAX = 300
WARM_ANSWERS = 24
"""So many quick answers in a row, each over a connection of its own: both workers have built the
large system."""
SYLLABLES = (
    "ka lo mi ne pu ra si to ve zu bar den fol gim hur jas kel lum mor nix pel qul ros sat tov",
    "ка ло ми не пу ра си то ве зу бар ден фол гим хур жас кел лум мор никс пел кул рос сат тов",
)


def code_system(count: int, seed: int = 1) -> dict[str, object]:
    """A code system of invented words in four languages; a tree with 100 codes a branch."""
    chance = random.Random(seed)
    latin, cyrillic = (each.split() for each in SYLLABLES)
    words = [[chance.randrange(25) for _ in range(chance.randint(2, 4))] for _ in range(6_000)]

    def name(syllables: list[str]) -> str:
        chosen = chance.choices(words, k=chance.randint(2, 5))
        return " ".join("".join(syllables[each] for each in word) for word in chosen).capitalize()

    concepts: list[dict[str, object]] = []
    branch: list[dict[str, object]] = concepts
    for number in range(count):
        concept: dict[str, object] = {
            "code": f"S{number:06d}",
            "display": name(latin),
            "designation": [
                {"language": "ru", "value": name(cyrillic)},
                {"language": "en", "value": name(latin)},
                {"language": "kaa", "value": name(latin)},
            ],
        }
        if number % 100 == 0:
            branch = []
            concept["concept"] = branch
            concepts.append(concept)
        else:
            branch.append(concept)
    concepts = [{k: v for k, v in each.items() if v} for each in concepts]
    return {"resourceType": "CodeSystem", "id": "synthetic", "url": SYSTEM, "version": "1",
            "status": "active", "content": "complete", "language": "uz", "concept": concepts}


def value_set() -> dict[str, object]:
    """The whole of it."""
    return {"resourceType": "ValueSet", "id": "synthetic", "url": SET, "status": "active",
            "compose": {"include": [{"system": SYSTEM}]}}


def keystrokes(system: dict[str, object], words: int, seed: int = 2) -> list[str]:
    """What a field sends while words are typed: every beginning of each, now and then two words."""
    chance = random.Random(seed)
    concepts = chance.choices(system["concept"], k=200)
    names = [each["display"] for each in concepts]
    names += [each["designation"][0]["value"] for each in concepts]
    typed = []
    for _ in range(words):
        parts = chance.choice(names).lower().split()
        text = " ".join(parts[: chance.choice((1, 1, 2))])
        typed += [text[:end] for end in range(1, len(text) + 1) if text[end - 1] != " "]
    return typed


def percentiles(seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100)
    return ", ".join(f"p{each} {cuts[each - 1] * 1000:.2f} ms" for each in (50, 95, 99))


def inside(count: int) -> None:
    """The library alone."""
    system = code_system(count)
    library = Library()
    library.put(msgspec.json.encode(value_set()))
    body = msgspec.json.encode(system)
    began = time.perf_counter()
    library.put(body)
    library.prepare_large()
    print(f"{count:,} codes, {len(body) / 1e6:.0f} MB of JSON, built with its word index in "
          f"{time.perf_counter() - began:.1f} s")
    taken = []
    for text in keystrokes(system, 150):
        began = time.perf_counter()
        msgspec.json.encode(expansion(library.members(SET), Wish(filter=text, count=20), ""))
        taken.append(time.perf_counter() - began)
    print(f"expansion as you type, 20 of the hits, {len(taken)} keystrokes: {percentiles(taken)}, "
          f"worst {max(taken) * 1000:.1f} ms")
    codes = [f"S{random.randrange(count):06d}" for _ in range(20_000)]
    began = time.perf_counter()
    for code in codes:
        msgspec.json.encode(lookup(library, SYSTEM, code))
    print(f"$lookup, without HTTP: {len(codes) / (time.perf_counter() - began):,.0f}/s")
    began = time.perf_counter()
    for code in codes:
        ask = Ask(codings=(Coding(SYSTEM, "", code),))
        msgspec.json.encode(in_set(library, library.members(SET), SET, ask))
    print(f"$validate-code, without HTTP: {len(codes) / (time.perf_counter() - began):,.0f}/s")


def over_http(count: int, seconds: int) -> None:
    """The platform with two workers, asked by wrk."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, "DMED_DATA": str(folder / "data"), "DMED_PORT": str(port),
                       "DMED_BODY_LIMIT_BYTES": str(256 * 1024 * 1024)}
        with Server([str(DMED), "serve", "--demo"], environment, f"{base}/readyz",
                    folder / "log"):
            token = subprocess.run(
                [DMED, "token", "--user", "service"], capture_output=True, text=True, check=True,
                env=environment).stdout.strip()
            system = code_system(count)
            for made in (system, value_set()):
                _put(base, made, token)
            asked = _requests(system, count)
            _warm(base + asked["lookup"][0], token)
            for kind, lines in asked.items():
                file = folder / f"{kind}.txt"
                file.write_text("\n".join(lines))
                figures = Figures()
                wrk(figures, base, "read", file, token, seconds)
                print(f"{kind}: {figures.rate:,.0f}/s, p50 {figures.p50:.1f} ms, "
                      f"p95 {figures.p95:.1f} ms, p99 {figures.p99:.1f} ms, "
                      f"{figures.errors} errors")


def spent(count: int, requests: int) -> None:
    """Processor time of a request in a worker of its own."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DMED_DATA"] = folder
        subprocess.run([DMED, "demo", "--persons", "20"], check=True, capture_output=True)
        with database(settings_module.load()) as addresses:
            token = subprocess.run([DMED, "token", "--user", "service"], capture_output=True,
                                   text=True, check=True).stdout.strip()
            os.environ["DMED_DATABASE_URL"] = addresses.application
            uvloop.run(_spent(count, requests, token))


async def _spent(count: int, requests: int, token: str) -> None:
    platform = Platform(settings_module.load())
    await platform.open()
    system = code_system(count)
    importer = Subject(user="bench", role=Role.SERVICE, name="bench")
    for made in (system, value_set()):
        kind, id_ = str(made["resourceType"]), str(made["id"])
        await platform.gateway.update(importer, kind, id_, msgspec.json.encode(made))
    failed: Counter[int] = Counter()
    for kind, lines in _requests(system, count).items():
        one = sender(platform, "read", lines, token, failed)
        await one()  # The library is built.
        await many(one, requests // 4)
        microseconds = min([await many(one, requests) for _ in range(3)])
        profile = cProfile.Profile()
        profile.enable()
        await many(one, requests)
        profile.disable()
        print(f"\n{kind}: {microseconds:,.0f} microseconds of processor time a request in the "
              f"worker, without HTTP; refused {sum(failed.values())}\n")
        print("| file | share of the profile | calls a request |\n|---|---|---|")
        print("\n".join(shares(pstats.Stats(profile), requests)))
    await asyncio.sleep(0)
    await platform.close()


def _put(base: str, resource: dict[str, object], token: str) -> None:
    request = urllib.request.Request(
        f"{base}/fhir/{resource['resourceType']}/{resource['id']}",
        data=json.dumps(resource).encode(), method="PUT",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"})
    urllib.request.urlopen(request, timeout=600).close()


def _warm(url: str, token: str) -> None:
    """Asks until the answers are quick."""
    began, quick = time.monotonic(), 0
    while quick < WARM_ANSWERS and time.monotonic() - began < WARM_SECONDS_MAX:
        asked = time.monotonic()
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        urllib.request.urlopen(request, timeout=WARM_SECONDS_MAX).close()
        quick = quick + 1 if time.monotonic() - asked < 0.2 else 0


def _requests(system: dict[str, object], count: int) -> dict[str, list[str]]:
    codes = [f"S{random.randrange(count):06d}" for _ in range(5_000)]
    typed = [text for text in keystrokes(system, 300) if text.isascii()]
    return {
        "lookup": [f"/fhir/CodeSystem/$lookup?system={SYSTEM}&code={code}" for code in codes],
        "validate-code": [f"/fhir/ValueSet/$validate-code?url={SET}&system={SYSTEM}&code={code}"
                          for code in codes],
        "expand": [f"/fhir/ValueSet/$expand?url={SET}&count=20&filter={text.replace(' ', '+')}"
                   for text in typed],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codes", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--spent", action="store_true")
    parser.add_argument("--requests", type=int, default=4000)
    given = parser.parse_args()
    print(machine())
    if given.spent:
        spent(given.codes, given.requests)
        raise SystemExit
    inside(given.codes)
    if given.http:
        over_http(given.codes, given.seconds)
