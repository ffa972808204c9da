"""The process log: one JSON object a line, without what an exception says.

An exception's words may repeat what it stumbled over, and that may be somebody's name. So a line
holds the kind of the exception and where it happened (file, line, function), never its words or the
values of variables; the audit knows who asked for what, by the same request id.
"""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime

import msgspec

from dmed.kit.errors import DmedError

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
        return msgspec.json.encode(line).decode()


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
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
