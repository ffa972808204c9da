"""Nobody but kit/outgoing.py opens a connection to another service, and its list is documented."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from dmed.kit import outgoing

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "dmed"
OPENS = {
    "urllib.request", "urllib3", "httpx", "requests", "aiohttp", "http.client.HTTPConnection",
    "http.client.HTTPSConnection", "socket.create_connection", "asyncio.open_connection",
    "ftplib", "smtplib", "telnetlib", "xmlrpc.client",
}  # fmt: skip  # A list.
"""What opens a connection by an address: as an import or as a name that is used."""
KEPT = {
    # The one way out.
    "kit/outgoing.py",
}


def used(tree: ast.Module) -> Iterator[str]:
    """Every dotted name that a file imports or uses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Attribute):
            yield ast.unparse(node)


def test_there_is_one_way_out() -> None:
    """No other file of the source imports or uses what opens a connection by an address."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name in KEPT:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [f"{name}: {one}" for one in sorted(set(used(tree)) & OPENS)]

    assert found == []


def test_the_list_of_outgoing_addresses_is_documented() -> None:
    """Each setting that names a service stands in docs/security/outgoing.md, and no other."""
    page = (ROOT / "docs" / "security" / "outgoing.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `DMED_")]

    assert sorted(line.split("`")[1] for line in rows) == sorted(
        f"DMED_{field.upper()}" for field in outgoing.FIELDS)
