"""fhirpathpy on the cases of bench/fhirpath.py: `peer.py CASES check|SECONDS`; prints JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import fhirpathpy
from fhirpathpy.models import models


def prepare(cases):
    """(expression, compiled, records) of every case that compiles, and those that do not."""
    made, failed = [], []
    for type_, case in cases.items():
        for text in case["expressions"]:
            try:
                run = fhirpathpy.compile(text, models["r5"])
                made.append(([type_, text], run, case["records"]))
            except Exception as error:  # noqa: BLE001  # Whatever the peer raises is its no.
                failed.append([type_, text, repr(error)[:120]])
    return made, failed


def check(made, failed):
    counts = {}
    for (type_, text), run, records in made:
        try:
            counts[f"{type_}: {text}"] = sum(len(run(record, {})) for record in records)
        except Exception as error:  # noqa: BLE001  # Same.
            failed.append([type_, text, repr(error)[:120]])
    return {"counts": counts, "failed": failed}


def measure(made, seconds):
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        for _, run, records in made:
            for record in records:
                run(record, {})
            done += len(records)
    return {"rate": done / spent}


def main():
    prepared, failed = prepare(json.loads(Path(sys.argv[1]).read_text()))
    asked = sys.argv[2]
    told = check(prepared, failed) if asked == "check" else measure(prepared, float(asked))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
