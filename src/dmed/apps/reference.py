"""Makes the generated pages of docs/reference; a test compares them with what is committed."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import click
import msgspec

from dmed.kit import settings as settings_module
from dmed.kit.settings import Settings

_HEAD = "Made by `dmed docs` from the code; change the code, not this page.\n"


def write_reference(folder: Path) -> list[Path]:
    """Writes every generated page into a folder and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
        written.append(folder / name)
    return written


def pages() -> dict[str, str]:
    """The generated pages by file name."""
    return {"settings.md": settings_page(), "commands.md": commands_page()}


def settings_page() -> str:
    """Every setting with its variable, default and meaning, from the class itself."""
    said = _field_docstrings()
    lines = ["# Settings", "", _HEAD, "| variable | default | meaning |", "|---|---|---|"]
    for field in msgspec.structs.fields(Settings):
        default = str(field.default).lower() if isinstance(field.default, bool) else field.default
        shown = f"`{default}`" if str(default) else "empty"
        lines.append(
            f"| `{settings_module.variable(field.name)}` | {shown} | {said[field.name]} |")
    return "\n".join(lines) + "\n"


def _field_docstrings() -> dict[str, str]:
    tree = ast.parse(inspect.getsource(Settings).strip()).body[0]
    assert isinstance(tree, ast.ClassDef)
    said: dict[str, str] = {}
    name = ""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name:
            said[name] = " ".join(str(node.value.value).split())
    return said


def commands_page() -> str:
    """The help of every command, as the terminal prints it."""
    from dmed.apps.cli import main

    lines = ["# Commands", "", _HEAD]
    for path, command in _commands(main, "dmed"):
        context = click.Context(command, info_name=path, max_content_width=90, terminal_width=90,
                                help_option_names=main.context_settings["help_option_names"])
        lines += [f"## {path}", "", "```", command.get_help(context), "```", ""]
    return "\n".join(lines)


def _commands(command: click.Command, path: str) -> list[tuple[str, click.Command]]:
    found = [(path, command)]
    if isinstance(command, click.Group):
        for name, part in sorted(command.commands.items()):
            if not part.hidden:
                found += _commands(part, f"{path} {name}")
    return found
