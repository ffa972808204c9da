"""Functions written as text for one type and compiled once, when the type is first met.

A record is checked and indexed by walking through its elements. A general walker asks of each
element again what a definition says of it; a function made from the definition only does it.
What is written stays in memory: nothing but our own definitions and names reaches the text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Source:
    """The text of one function, and the objects that it names."""

    def __init__(self, title: str, parameters: str) -> None:
        self._title = title
        self._lines = [f"def made({parameters}):"]
        self._depth = 1
        self.names: dict[str, Any] = {}

    def name(self, value: Any) -> str:
        """A name under which the function finds an object; the same object keeps its name."""
        for name, known in self.names.items():
            if known is value:
                return name
        name = f"n{len(self.names)}"
        self.names[name] = value
        return name

    def add(self, line: str) -> None:
        """A line at the present depth."""
        self._lines.append(" " * self._depth + line)

    def open(self, line: str) -> None:
        """A line that begins a block."""
        self.add(line)
        self._depth += 1

    def close(self) -> None:
        """The end of a block."""
        self._depth -= 1

    @property
    def length(self) -> int:
        """How many lines there are: to see whether a block got any."""
        return len(self._lines)

    def drop(self) -> None:
        """Take the last line back, where a block stayed empty."""
        self._lines.pop()

    def function(self) -> Callable[..., Any]:
        """The compiled function."""
        code = compile("\n".join(self._lines), f"<{self._title}>", "exec")
        exec(code, self.names)  # noqa: S102  # The text is made above, of definitions alone.
        made: Callable[..., Any] = self.names.pop("made")
        return made


def later(source: Source, make: Callable[[], Callable[..., Any]]) -> str:
    """A name for a function that is made when it is first called: types hold one another."""
    name = f"n{len(source.names)}"
    names = source.names

    def first(*given: Any) -> Any:
        names[name] = made = make()
        return made(*given)

    names[name] = first
    return name
