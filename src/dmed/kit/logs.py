"""The process log: one JSON object a line, without what an exception says.

An exception's words may repeat what it stumbled over, and that may be somebody's name. So a line
holds the kind of the exception and where it happened (file, line, function), never its words or the
values of variables; the audit knows who asked for what, by the same request id.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from datetime import UTC, datetime
from types import TracebackType

import msgspec

from dmed.kit.errors import DmedError

_UNSEEN = re.compile(r"[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_FRAMES_MAX = 30
_WORDS_MAX = 2_000


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Time (UTC), level, logger, sentence, and the trace of an exception without its words."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "from": record.name,
            "process": record.process,
            "says": record.getMessage()[:_WORDS_MAX],
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["trace"] = trace(record.exc_info[1])
        return one_line(msgspec.json.encode(line).decode())


def one_line(text: str) -> str:
    """JSON in which nothing can begin a line of its own or move a terminal's pen: what JSON itself
    leaves (C1 controls, U+2028, U+2029, marks of direction) is escaped too.
    """
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def trace(error: BaseException) -> list[str]:
    """The kinds of an exception and its causes, each followed by its frames, innermost last."""
    told = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        # Our own errors are written for callers and repeat at most what they sent: kind and code.
        code = f" ({link.code})" if isinstance(link, DmedError) else ""
        told.append(f"{type(link).__module__}.{type(link).__qualname__}{code}")
        told += [f"{frame.filename.rpartition('/src/')[2]}:{frame.lineno} {frame.name}"
                 for frame in traceback.extract_tb(link.__traceback__)[-_FRAMES_MAX:]]
        link = link.__cause__ or link.__context__
    return told


def configure(level: int = logging.WARNING) -> None:
    """Sends every logger's lines to standard error in this form; for the processes that serve."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    # What nobody caught would else print its words, over as many lines as they have.
    sys.excepthook = _uncaught
    threading.excepthook = lambda told: _uncaught(told.exc_type, told.exc_value, None)
    sys.unraisablehook = lambda told: _uncaught(told.exc_type, told.exc_value, None)
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def _uncaught(
    kind: type[BaseException], error: BaseException | None, _: TracebackType | None
) -> None:
    """An exception that ends a thread or the process, as one line like any other."""
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("dmed").critical(
        "not caught: %s", kind.__name__,
        exc_info=(kind, error, error.__traceback__) if error is not None else None)
