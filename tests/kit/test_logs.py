"""The process log: one line a record, JSON, and no word of an exception."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dmed.kit.errors import InvalidError
from dmed.kit.logs import JsonLines, configure, trace

NAME = "Zulfiqorova"


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger of its own, and what it wrote."""
    held = io.StringIO()
    handler = logging.StreamHandler(held)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("dmed.test")
    logger.addHandler(handler)
    logger.propagate = False
    yield logger, held
    logger.removeHandler(handler)


def test_an_exception_is_told_by_kind_and_place_without_its_words(
    log: tuple[logging.Logger, io.StringIO]
) -> None:
    """Kind, file, line and function of it and of its cause; not what they say."""
    logger, held = log
    try:
        try:
            {}[NAME]  # The fault is meant.
        except KeyError as fault:
            raise InvalidError(f"{NAME} is nobody") from fault
    except InvalidError:
        logger.exception("unexpected fault, request %s", "r-1")
    line = json.loads(held.getvalue())

    assert NAME not in held.getvalue()
    assert line["says"] == "unexpected fault, request r-1"
    assert line["trace"][0] == "dmed.kit.errors.InvalidError (invalid)"
    assert "builtins.KeyError" in line["trace"]
    assert any("test_logs.py" in frame for frame in line["trace"])
    assert line["at"].endswith("+00:00")


def test_a_line_cannot_be_forged(log: tuple[logging.Logger, io.StringIO]) -> None:
    """Line ends and control characters in what is logged stay inside their one line."""
    logger, held = log
    logger.warning("asked %s", 'x\n{"level": "critical"}\r\x1b[2K\u2028\x85\u202eback')

    assert len(held.getvalue().splitlines()) == 1
    assert not {"\u2028", "\x85", "\u202e"} & set(held.getvalue())
    assert json.loads(held.getvalue())["says"].endswith("\u202eback")
    assert held.getvalue().count("\n") == 1
    assert "\x1b" not in held.getvalue()
    assert json.loads(held.getvalue())["level"] == "warning"


def test_a_circle_of_causes_ends() -> None:
    """Exceptions that name each other as their context are told once each."""
    first, second = ValueError("x"), TypeError("y")
    first.__context__, second.__context__ = second, first

    assert trace(first) == ["builtins.ValueError", "builtins.TypeError"]


def test_every_logger_writes_this_form(capfd: pytest.CaptureFixture[str]) -> None:
    """After `configure` what libraries say is JSON too."""
    root, before = logging.getLogger(), [*logging.getLogger().handlers]
    level = root.level
    try:
        configure()
        logging.getLogger("a.library").warning("hear")
    finally:
        root.handlers[:] = before
        root.setLevel(level)

    assert json.loads(capfd.readouterr().err)["from"] == "a.library"


FORGES = """
import sys, threading, warnings
from dmed.kit.logs import configure
configure()
warnings.warn("w\\n{forged}", stacklevel=1)
def fails(): raise ValueError("a\\n{forged} Zulfiqorova")
one = threading.Thread(target=fails, name="x\\n{forged}")
one.start(); one.join()
fails()
"""


def test_what_nobody_caught_is_one_line_without_its_words() -> None:
    """An exception that ends a thread or the process, and a warning: each one line of JSON."""
    done = subprocess.run([sys.executable, "-c", FORGES], capture_output=True, text=True,
                          check=False)

    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert [line["level"] for line in lines] == ["warning", "critical", "critical"]
    assert all(line["trace"][0] == "builtins.ValueError" for line in lines[1:])
    assert NAME not in done.stderr
