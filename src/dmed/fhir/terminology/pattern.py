"""Regular expressions of value set filters, matched in time linear in the text.

https://hl7.org/fhir/R5/valueset-filter-operator.html#regex. Python's own engine backtracks: a
pattern of a stored value set could hold a worker for hours. Here a pattern becomes an automaton
whose states are made as they are met. Groups are served, look-around and back references are not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from dmed.kit.errors import InvalidError

PATTERN_MAX = 500
"""Most characters of a pattern."""
STATES_MAX = 4_000
"""Most states of its automaton: `{1000}` of a group is refused."""
_MEMORY_MAX = 20_000
_DEPTH_MAX = 20
_Test = Callable[[str], bool]
_CLASSES: dict[str, _Test] = {
    "d": str.isdecimal,
    "w": lambda letter: letter.isalnum() or letter == "_",
    "s": str.isspace,
}
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}


def _escaped(letter: str) -> _Test:
    if letter in _CLASSES:
        return _CLASSES[letter]
    if letter.lower() in _CLASSES:
        inner = _CLASSES[letter.lower()]
        return lambda other: not inner(other)
    if letter.isalnum() and letter not in _ESCAPES:
        raise InvalidError(f"The pattern uses \\{letter}, which is not served")
    meant = _ESCAPES.get(letter, letter)
    return lambda other: other == meant


class _Automaton:
    """States by number: each has moves without a letter, or one test of a letter and a target."""

    def __init__(self, pattern: str) -> None:
        if len(pattern) > PATTERN_MAX:
            raise InvalidError(f"The pattern is longer than {PATTERN_MAX} characters")
        self.free: list[list[int]] = []
        self.tests: list[tuple[_Test, int] | None] = []
        self._text = pattern.removeprefix("^")
        if self._text.endswith("$") and not self._text.endswith("\\$"):
            self._text = self._text[:-1]
        self._place = 0
        self._depth = 0
        self.start, self.end = self._alternatives()
        if self._place < len(self._text):
            raise self._fault("')' without '('")

    def _fault(self, why: str) -> InvalidError:
        return InvalidError(f"The pattern cannot be read at character {self._place + 1}: {why}")

    def _state(self) -> int:
        if len(self.free) >= STATES_MAX:
            raise InvalidError("The pattern repeats too much")
        self.free.append([])
        self.tests.append(None)
        return len(self.free) - 1

    def _next(self) -> str:
        return self._text[self._place : self._place + 1]

    def _take(self) -> str:
        letter = self._next()
        if not letter:
            raise self._fault("it ends early")
        self._place += 1
        return letter

    def _alternatives(self) -> tuple[int, int]:
        start, end = self._state(), self._state()
        while True:
            first, last = self._sequence()
            self.free[start].append(first)
            self.free[last].append(end)
            if self._next() != "|":
                return start, end
            self._place += 1

    def _sequence(self) -> tuple[int, int]:
        start = end = self._state()
        while self._next() not in ("", "|", ")"):
            begin = self._place
            first, last = self._piece()
            low, high = self._repetition()
            after = self._place
            # A counted piece is read again for each of its copies.
            copies = [(first, last)]
            for _ in range(max(low, high, 1) - 1):
                self._place = begin
                copies.append(self._piece())
            self._place = after
            end = self._chain(end, copies, low, high)
        return start, end

    def _chain(self, end: int, copies: list[tuple[int, int]], low: int, high: int) -> int:
        """Copies one after the other; `high` below 0 has no upper limit."""
        out = self._state()
        if low == 0:
            self.free[end].append(out)
        if high == 0:
            return out
        for number, (first, last) in enumerate(copies, 1):
            self.free[end].append(first)
            end = last
            if number >= low:
                self.free[end].append(out)
        if high < 0:
            self.free[end].append(copies[-1][0])
        return out

    def _repetition(self) -> tuple[int, int]:
        letter = self._next()
        found = {"*": (0, -1), "+": (1, -1), "?": (0, 1)}.get(letter)
        if found is not None:
            self._place += 1
        elif letter == "{":
            close = self._text.find("}", self._place)
            low, comma, high = self._text[self._place + 1 : close].partition(",")
            if close < 0 or not low.isdecimal() or not (high.isdecimal() or not high):
                raise self._fault("'{' needs a number, as in {2} or {2,3}")
            self._place = close + 1
            found = int(low[:6]), int(high[:6]) if high else (-1 if comma else int(low[:6]))
            if 0 <= found[1] < found[0]:
                raise self._fault("the repetition ends before it begins")
        else:
            return 1, 1
        if self._next() == "?":  # The shortest match is the same when the whole text must match.
            self._place += 1
        return found

    def _piece(self) -> tuple[int, int]:
        letter = self._take()
        if letter == "(":
            return self._group()
        if letter in "*+?{":
            raise self._fault(f"{letter!r} repeats nothing")
        if letter in "^$":
            raise self._fault(f"{letter!r} stands in the middle")
        test: _Test
        if letter == ".":
            test = _any
        elif letter == "[":
            test = self._set()
        elif letter == "\\":
            test = _escaped(self._take())
        else:
            test = letter.__eq__
        start, end = self._state(), self._state()
        self.tests[start] = (test, end)
        return start, end

    def _group(self) -> tuple[int, int]:
        if self._next() == "?":
            if self._text[self._place : self._place + 2] != "?:":
                raise self._fault("only (?: ) is served of the groups with '?'")
            self._place += 2
        if self._depth >= _DEPTH_MAX:
            raise self._fault(f"groups stand in one another more than {_DEPTH_MAX} deep")
        self._depth += 1
        found = self._alternatives()
        self._depth -= 1
        if self._next() != ")":
            raise self._fault("')' is missing")
        self._place += 1
        return found

    def _set(self) -> _Test:
        negated = self._next() == "^"
        self._place += negated
        tests: list[_Test] = []
        is_first = True
        while (letter := self._take()) != "]" or is_first:
            is_first = False
            if letter == "\\":
                tests.append(_escaped(self._take()))
            elif self._next() == "-" and self._text[self._place + 1 : self._place + 2] != "]":
                self._place += 1
                tests.append(_between(letter, self._take()))
            else:
                tests.append(letter.__eq__)
        return lambda other: any(test(other) for test in tests) is not negated

    def closure(self, states: set[int]) -> frozenset[int]:
        """The states with those that are reached from them without a letter."""
        waiting = list(states)
        while waiting:
            for other in self.free[waiting.pop()]:
                if other not in states:
                    states.add(other)
                    waiting.append(other)
        return frozenset(states)

    def step(self, states: frozenset[int], letter: str) -> frozenset[int]:
        """The states after a letter."""
        moves = [self.tests[state] for state in states]
        return self.closure({to for test, to in filter(None, moves) if test(letter)})


def _any(_letter: str) -> bool:
    return True


def _between(low: str, high: str) -> _Test:
    return lambda other: low <= other <= high


class Pattern:
    """A pattern ready to match whole texts. InvalidError for what is not served."""

    def __init__(self, pattern: str) -> None:
        self._automaton = _Automaton(pattern)
        self._first = self._automaton.closure({self._automaton.start})
        self._steps: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def matches(self, text: str) -> bool:
        """Whether the whole text is described by the pattern."""
        states, steps = self._first, self._steps
        for letter in text:
            following = steps.get((states, letter))
            if following is None:
                if len(steps) > _MEMORY_MAX:
                    steps.clear()
                following = steps[states, letter] = self._automaton.step(states, letter)
            if not following:
                return False
            states = following
        return self._automaton.end in states


@lru_cache(maxsize=256)
def pattern(text: str) -> Pattern:
    """The compiled pattern of a text, kept."""
    return Pattern(text)
