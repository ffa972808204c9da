"""One trial of an expression, in a process that may be killed; `fhirpath` starts it.

Parameters come on standard input. Exit status 0: the answer is on standard output; REFUSED: the
issues why there is none are; anything else: it took more than it may.
"""

from __future__ import annotations

import resource
import sys

import msgspec

from dmed.kit.errors import DmedError, InvalidError, Issue

REFUSED = 3
"""Not 1, with which Python itself ends a program that fails."""
CPU_SECONDS_MAX = 3
MEMORY_MAX_BYTES = 1024 * 1024 * 1024
ANSWER_MAX_BYTES = 8 * 1024 * 1024


def main() -> int:
    """Answer once; the result is the exit status."""
    # Both limits stand before anything of the request is read.
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS_MAX, CPU_SECONDS_MAX))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX_BYTES, MEMORY_MAX_BYTES))
    try:
        found = _answer(sys.stdin.buffer.read())
    except DmedError as error:
        sys.stdout.buffer.write(msgspec.json.encode(error.issues))
        return REFUSED
    except (MemoryError, ArithmeticError):
        return 2
    sys.stdout.buffer.write(found)
    return 0


def _answer(parameters: bytes) -> bytes:
    from dmed.fhir.path.lab import answer
    from dmed.fhir.terminology.trial import OwnTerms

    try:
        found = answer(parameters, OwnTerms)
    except RecursionError as error:
        raise InvalidError(
            issues=(Issue("too-costly", "The expression is nested too deep"),)
        ) from error
    if len(found) > ANSWER_MAX_BYTES:
        raise InvalidError(
            issues=(Issue("too-long", f"The answer is longer than {ANSWER_MAX_BYTES} bytes"),)
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
