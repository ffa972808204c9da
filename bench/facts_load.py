"""How long the facts of R5, the structs and the first validation take, and what memory they cost.

python bench/facts_load.py   (each figure is the median of fresh processes; state the machine)
"""

from __future__ import annotations

import statistics
import subprocess
import sys

RUNS = 7
PROBE = """
import resource, time
def memory(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
import msgspec
start = time.perf_counter()
from dmed.fhir.facts import facts
f = facts(); f.types, f.value_sets, f.search, f.compartments, f.operations
loaded = time.perf_counter(); at_facts = memory()
from dmed.fhir.types import struct_of
struct_of("Patient")
defined = time.perf_counter()
from dmed.fhir import codec, validate
patient = codec.decode(b'{"resourceType":"Patient","gender":"male"}')
decoded = time.perf_counter()
validate.validate(patient)
validated = time.perf_counter()
print(1000 * (loaded - start), 1000 * (defined - loaded), 1000 * (decoded - defined),
      1000 * (validated - decoded), at_facts, memory())
"""
NAMES = (
    "facts, every section (ms)",
    "structs defined (ms)",
    "first decode, builds the decoder (ms)",
    "first validation (ms)",
    "memory after facts (MB)",
    "memory after all (MB)",
)


def main() -> None:
    rows = []
    for _ in range(RUNS):
        done = subprocess.run(
            [sys.executable, "-c", PROBE], capture_output=True, text=True, check=True
        )
        rows.append([float(word) for word in done.stdout.split()])
    for name, values in zip(NAMES, zip(*rows, strict=True), strict=True):
        low, high = min(values), max(values)
        print(f"{name:40} {statistics.median(values):8.1f}   ({low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
