"""The habits of the house, held by a test: lengths, names, docstrings, bans (style.md, 4)."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "dmed"
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
MODULE_NAMES = {"__init__", "api", "model", "rules", "service", "tables", "operations", "pages",
                "demo", "data", "templates", "__pycache__"}
PRINTING_ROOMS = {"apps"}
BARE_SUPPRESSION = re.compile(
    r"#\s*(noqa|type:\s*ignore)(?!\S*: [A-Z0-9, ]+\s+#|\[[\w, -]+\]\s+#)")


def python_files() -> list[Path]:
    return sorted(path for folder in ("src", "tests", "tools", "bench")
                  for path in (ROOT / folder).rglob("*.py"))


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in python_files():
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def name(path: Path, node: ast.AST | None = None) -> str:
    line = f":{node.lineno}" if isinstance(node, ast.stmt | ast.expr) else ""
    return f"{path.relative_to(ROOT)}{line}"


def test_functions_are_short() -> None:
    """No function has 70 lines or more: a longer one does two things."""
    long = [f"{name(path, node)} {node.name}" for path, tree in trees() for node in functions(tree)
            if (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX]

    assert long == []


def test_files_are_short() -> None:
    """No file has over 600 lines: a longer one is two rooms."""
    long = [f"{name(path)} {lines}" for path in python_files()
            if (lines := len(path.read_text().splitlines())) > FILE_LINES_MAX]

    assert long == []


def test_public_functions_promise_something() -> None:
    """Every public function and class of the platform has a docstring and a return type."""
    silent = []
    for path, tree in trees():
        if not path.is_relative_to(SOURCE):
            continue
        for node in tree.body:
            public = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if not public or node.name.startswith("_"):
                continue
            if ast.get_docstring(node) is None:
                silent.append(f"{name(path, node)} {node.name}")

    assert silent == []


def test_every_test_says_what_it_proves() -> None:
    """Every test has a docstring of its own: the sentence it proves."""
    silent = [f"{name(path, node)} {node.name}" for path, tree in trees()
              if path.is_relative_to(ROOT / "tests")
              for node in functions(tree)
              if node.name.startswith("test_") and ast.get_docstring(node) is None]

    assert silent == []


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def test_banned_calls_do_not_occur() -> None:
    """No time without a zone, no print outside the command line, no float for money or dose."""
    found = []
    for path, tree in trees():
        if not path.is_relative_to(SOURCE):
            continue
        floor = path.relative_to(SOURCE).parts[0]
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = _called(node)
            if called in {"datetime.now", "datetime.datetime.now"} and not node.args:
                found.append(f"{name(path, node)} {called} without a zone")
            # One named place writes functions from R5's own definitions (decision 0042).
            if called == "exec" and path == SOURCE / "fhir" / "source.py":
                continue
            if called in {"datetime.utcnow", "date.today", "eval", "exec"}:
                found.append(f"{name(path, node)} {called}")
            if called == "print" and floor not in PRINTING_ROOMS:
                found.append(f"{name(path, node)} print")

    assert found == []


def test_only_the_store_speaks_sql_about_records() -> None:
    """The tables of records are named in SQL by store/ alone; trust and modules have their own."""
    tables = (r"\b(from|into|update|join)\s+(resource|resource_version|compartment|id_claim|"
              r"identity_claim|feed|audit|ix_\w+)\b")
    found = [f"{name(path)}: {match.group(0)}" for path in SOURCE.rglob("*.py")
             if path.relative_to(SOURCE).parts[0] in {"server", "pages", "modules", "trust"}
             for match in re.finditer(tables, _strings(path), re.IGNORECASE)]

    assert found == []


def _strings(path: Path) -> str:
    """The string constants of a file that are no docstrings: where SQL would stand."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(node.body[0].value) for node in ast.walk(tree)
             if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
             and node.body and isinstance(node.body[0], ast.Expr)}
    return "\n".join(node.value for node in ast.walk(tree)
                     if isinstance(node, ast.Constant) and isinstance(node.value, str)
                     and id(node) not in prose and re.search(r"\b(select|insert|update|delete)\b",
                                                             node.value, re.IGNORECASE))


def test_modules_have_the_same_few_names() -> None:
    """A module folder holds only the names that the architecture lists, and a manifest."""
    wrong = []
    for folder in sorted((SOURCE / "modules").iterdir()):
        if not folder.is_dir() or folder.name == "__pycache__":
            continue
        wrong += [f"{folder.name}/{entry.name}" for entry in folder.iterdir()
                  if entry.stem not in MODULE_NAMES]
        if "MODULE" not in (folder / "__init__.py").read_text():
            wrong.append(f"{folder.name} has no MODULE")

    assert wrong == []


def test_suppressions_carry_a_reason() -> None:
    """Every `noqa` and `type: ignore` names its rule and says why in the same line."""
    bare = [f"{name(path)}:{number}" for path in python_files()
            for number, line in enumerate(path.read_text().splitlines(), 1)
            if BARE_SUPPRESSION.search(line)]

    assert bare == []


def locale_files() -> list[Path]:
    return sorted(SOURCE.rglob("locale/uz.json"))


@pytest.mark.parametrize("file", locale_files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_text_exists_in_every_language(file: Path) -> None:
    """The keys of Uzbek, Russian and English are the same, and their places match."""
    texts = {language: json.loads(file.with_name(f"{language}.json").read_text())
             for language in ("uz", "ru", "en")}
    keys = {language: set(found) for language, found in texts.items()}

    assert keys["uz"] == keys["ru"] == keys["en"]


def test_no_paths_of_a_machine_and_no_registry_hosts() -> None:
    """No tracked text names a builder's folder or a package registry's host."""
    hosts = "|".join(("files.python" + "hosted", "registry." + "npmjs", "pypi" + r"\.org",
                      "deb." + "debian"))
    pattern = re.compile(rf"(/root/|/work/|/home/\w+/|{hosts})")
    found = [f"{name(path)}: {match.group(0)}"
             for folder in ("src", "tests", "tools", "bench", "docs", "requirements", ".ci")
             for path in sorted((ROOT / folder).rglob("*"))
             if path.is_file() and "vendor" not in path.parts and path != Path(__file__)
             and path.suffix in {".py", ".md", ".txt", ".lock", ".in", ".html", ".css", ".js",
                                 ".json", ".tsv", ".toml", ""}
             for match in pattern.finditer(path.read_text(encoding="utf-8", errors="replace"))]

    assert found == []


def test_decisions_are_short_and_name_what_holds_them() -> None:
    """Every decision has at most 60 lines and names a test or a bench that exists."""
    wrong = []
    for path in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")):
        text = path.read_text()
        if len(text.splitlines()) > 60:
            wrong.append(f"{path.name}: over 60 lines")
        cited = re.findall(r"(?:tests|bench|tools)/[\w/]+\.py", text)
        if not any((ROOT / file).exists() for file in cited):
            wrong.append(f"{path.name}: names no existing test or bench")

    assert wrong == []


def test_a_module_imports_only_the_api_of_another() -> None:
    """Between modules there is one door: `api`; nothing else of another module is imported."""
    wrong = []
    for path, tree in trees():
        parts = path.relative_to(ROOT).parts
        if parts[:3] != ("src", "dmed", "modules") or len(parts) < 5:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dmed.modules."):
                target = (node.module or "").split(".")[2:]
                names = target[1:2] or [alias.name for alias in node.names]
                if target[0] != parts[3] and names != ["api"]:
                    wrong.append(f"{name(path, node)} {node.module} {names}")

    assert wrong == []
