"""`dmed guide install`: the definitions of a FHIR package into the store, with its dependencies.

https://hl7.org/fhir/packages.html. What is installed again replaces what was there as a whole;
running workers learn of it within seconds (`trust.guides`).
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dmed.apps.accounts import opened
from dmed.apps.database import Addresses, database, prepare
from dmed.apps.importing import IMPORTER, produce
from dmed.apps.sources import Item, package_items
from dmed.kit.errors import InvalidError
from dmed.kit.settings import Settings
from dmed.store import definitions, reindex
from dmed.store.load_whole import alone, write_whole
from dmed.store.model import AuditRow, Scope, Write
from dmed.store.pool import Database
from dmed.trust import guides
from dmed.trust.gateway import prepare as preparing

DEFINITIONS = frozenset({
    "ActivityDefinition", "ActorDefinition", "CapabilityStatement", "CodeSystem",
    "CompartmentDefinition", "ConceptMap", "ConditionDefinition", "EventDefinition",
    "ExampleScenario", "GraphDefinition", "ImplementationGuide", "Library", "Measure",
    "MessageDefinition", "NamingSystem", "ObservationDefinition", "OperationDefinition",
    "PlanDefinition", "Questionnaire", "Requirements", "SearchParameter", "SpecimenDefinition",
    "StructureDefinition", "StructureMap", "SubscriptionTopic", "TerminologyCapabilities",
    "TestPlan", "TestScript", "ValueSet",
})  # fmt: skip  # A list of words reads better filled.
"""What a guide installs; its examples are records of nobody and stay out."""
_GUIDE_BYTES_MAX = 64 * 1024 * 1024
_LOCK = 7_305_516_208_331_002
"""Of the database: one installation after the other."""
_CORE = "hl7.fhir.r5.core"


class Dependency(msgspec.Struct, frozen=True):
    """One package that a guide stands on."""

    package: str = msgspec.field(name="packageId", default="")
    version: str = ""


class _Head(msgspec.Struct):
    """What tells a definition, and a guide's own account of itself."""

    resource_type: str = msgspec.field(name="resourceType", default="")
    id: str = ""
    version: str = ""
    package: str = msgspec.field(name="packageId", default="")
    depends: list[Dependency] = msgspec.field(name="dependsOn", default=[])


class _Npm(msgspec.Struct):
    """The package's own manifest."""

    name: str = ""
    version: str = ""
    dependencies: dict[str, str] = {}


Key = tuple[str, str]
"""(type, id) of a definition."""


class Named(msgspec.Struct, frozen=True):
    """One definition of a package and what it is."""

    key: Key
    item: Item


class Package(msgspec.Struct):
    """What a folder or archive brings."""

    path: Path
    name: str = ""
    version: str = ""
    items: list[Named] = []
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    needs: dict[str, str] = {}


def read_package(path: Path) -> Package:
    """The definitions of a package (.tgz) or folder. InvalidError where there are none."""
    made = Package(path)
    for item in package_items(path):
        if Path(item.where).name == "package.json":
            _manifest(item, made)
            continue
        try:
            head = msgspec.json.decode(item.body, type=_Head)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if head.resource_type not in DEFINITIONS or not head.id:
            continue
        made.items.append(Named((head.resource_type, head.id), item))
        made.counts[head.resource_type] += 1
        if head.resource_type == "ImplementationGuide" and not made.name:
            made.name, made.version = head.package, head.version
            made.needs = {each.package: each.version for each in head.depends if each.package}
    if not made.items:
        raise InvalidError("there are no definitions there", str(path))
    return made


def _manifest(item: Item, made: Package) -> None:
    try:
        found = msgspec.json.decode(item.body, type=_Npm)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    made.name, made.version, made.needs = found.name, found.version, found.dependencies


def with_dependencies(path: Path) -> tuple[list[Package], list[str]]:
    """The package after the packages it needs, and the needed ones that are not beside it.

    A dependency is found next to the package: `name#version.tgz`, `name-version.tgz`, `name.tgz`,
    a folder of that name, or a folder whose ImplementationGuide says that name.
    """
    found: dict[str, Package] = {}
    missing: dict[str, None] = {}

    def add(package: Package) -> None:
        for name, version in package.needs.items():
            if name in found or name == _CORE:
                continue
            beside = _beside(package.path, name, version)
            if beside is None:
                missing[f"{name} {version}".strip()] = None
                continue
            found[name] = beside
            add(beside)
        ordered.append(package)

    ordered: list[Package] = []
    top = read_package(path)
    found[top.name] = top
    add(top)
    return ordered, list(missing)


def _beside(path: Path, name: str, version: str) -> Package | None:
    folder = path.resolve().parent
    short = [f"{name}#{version}", f"{name}-{version}", name]
    for each in [*(f"{stem}.tgz" for stem in short), *short]:
        candidate = folder / each
        if candidate.exists() and candidate.resolve() != path.resolve():
            return read_package(candidate)
    for guide in sorted(folder.glob("*/ImplementationGuide/*.json")):
        if msgspec.json.decode(guide.read_bytes(), type=_Head).package == name:
            return read_package(guide.parent.parent)
    return None


class Installed(msgspec.Struct):
    """What an installation did."""

    stored: int = 0
    unchanged: int = 0
    removed: int = 0
    refused: int = 0


class _Plan(msgspec.Struct):
    """What is to be written and noted, made ready before the transaction begins."""

    writes: list[Write] = []
    notes: dict[str, tuple[str, list[guides.Brought]]] = {}
    done: Installed = msgspec.field(default_factory=Installed)


def install_guide(settings: Settings, *paths: Path) -> int:
    """Stores the definitions of packages or folders and of what they need, all in one transaction.

    What a guide brought before and brings no more is deleted (its history stays), unless another
    guide brings it too or somebody has changed it since. What has not changed is not written
    again. A dependency that is installed already stays as it is. Definitions that R5 refuses are
    told and left out. Returns how many definitions the guides have here now.
    """
    began = time.monotonic()
    packages: list[Package] = []
    missing: dict[str, None] = {}
    for path in paths:
        found, absent = with_dependencies(path)
        known = {each.name for each in packages if each.name}
        packages += [each for each in found[:-1] if each.name not in known] + found[-1:]
        missing.update(dict.fromkeys(absent))
    asked = {each.path for each in packages if each.path in paths}
    with database(settings) as addresses:
        done, present, taken = asyncio.run(_install(settings, addresses, packages, asked))
    for package in taken:
        sys.stdout.write(f"{_title(package)}\n")
        for name, count in sorted(package.counts.items()):
            sys.stdout.write(f"{count:6,} {name}\n")
    for name in missing:
        if name.partition(" ")[0] not in present | {each.name for each in packages}:
            sys.stdout.write(f"not here: {name} (profiles and codes of it are not checked)\n")
    seconds = time.monotonic() - began
    sys.stdout.write(
        f"{done.stored:6,} stored, {done.unchanged:,} unchanged, {done.removed:,} removed, "
        f"{done.refused:,} refused, {seconds:.1f} s; running servers validate with it within "
        "seconds\n")
    return done.stored + done.unchanged


def _title(package: Package) -> str:
    return f"{package.name} {package.version}".strip() or package.path.name


async def _install(
    settings: Settings, addresses: Addresses, packages: list[Package], asked: Collection[Path]
) -> tuple[Installed, frozenset[str], list[Package]]:
    """What was done, the guides that were there before, and the packages that were taken."""
    await prepare(addresses)
    async with opened(settings, addresses) as store, alone(addresses.owner, _LOCK) as connection:
        await reindex.learn(store)
        before = await guides.brought(connection)
        present = frozenset(before) | await _present(store)
        taken = [each for each in packages if each.path in asked or each.name not in present]
        plan = await _plan(connection, taken, before)

        async def note(connection: Any) -> None:
            for name, (version, listed) in plan.notes.items():
                await guides.record(connection, name, version, listed)

        audit = AuditRow(request="guide", action="C", subject=IMPORTER.user,
                         role=IMPORTER.role.value, purpose="HSYSADMIN",
                         detail=", ".join(_title(each) for each in taken)[:200])
        await write_whole(connection, store, Scope(IMPORTER.user), audit, plan.writes, note)
    return plan.done, present, taken


async def _plan(
    connection: Any, packages: Sequence[Package], before: Mapping[str, list[guides.Brought]]
) -> _Plan:
    """Reads, checks and encodes what is new or different; finds what is dropped."""
    plan = _Plan()
    old = {(each.type, each.id): each for listed in before.values() for each in listed}
    items = {each.key: each for package in packages for each in package.items}
    there = await definitions.versions(connection, sorted({*items, *old}))
    vids: dict[Key, guides.Brought] = {}
    for key, item in items.items():
        digest = hashlib.sha256(item.item.body).digest()
        was, vid = old.get(key), there.get(key, (0, 0))[0]
        if was is not None and was.digest == digest and was.vid == vid:
            plan.done.unchanged += 1
            vids[key] = was
            continue
        write = _write(item.item)
        if write is None:
            # What an older version brought under this id stays the guide's own.
            plan.done.refused += 1
            vids[key] = guides.Brought(*key, 0 if was is None else was.vid, b"")
        else:
            plan.writes.append(write)
            plan.done.stored += 1
            vids[key] = guides.Brought(*key, write.vid, digest)
    for package in packages:
        listed = list(dict.fromkeys(each.key for each in package.items))
        plan.notes[package.name or package.path.name] = (
            package.version, [vids[key] for key in listed])
    plan.writes += _dropped(before, plan, there)
    plan.done.removed = len(plan.writes) - plan.done.stored
    return plan


def _write(item: Item) -> Write | None:
    """The new version of a definition; None, and told, where R5 refuses it."""
    try:
        write, = produce(item)
    except InvalidError as error:
        for issue in error.issues:
            sys.stderr.write(f"{item.where}: {issue.expression}: {issue.diagnostics}\n")
        return None
    write.kind, write.expected_vid = "update", None
    return write


def _dropped(
    before: Mapping[str, list[guides.Brought]], plan: _Plan,
    there: Mapping[Key, tuple[int, int]],
) -> list[Write]:
    """Deletions of what these guides brought before and no guide brings now.

    What somebody has changed since is theirs: it stays.
    """
    kept = {(each.type, each.id) for _, listed in plan.notes.values() for each in listed}
    kept |= {(each.type, each.id) for name, listed in before.items() if name not in plan.notes
             for each in listed}
    gone = {(each.type, each.id): each for name in plan.notes for each in before.get(name, ())}
    return [
        preparing.deletion_of(kind, id_, bucket=there[kind, id_][1], patients=(), vid_now=was.vid)
        for (kind, id_), was in gone.items()
        if (kind, id_) not in kept and there.get((kind, id_), (0, 0))[0] == was.vid > 0
    ]


async def _present(store: Database) -> frozenset[str]:
    """The names that the stored ImplementationGuides say."""
    bodies = await definitions.bodies(store, ["ImplementationGuide"], _GUIDE_BYTES_MAX)
    return frozenset(msgspec.json.decode(each, type=_Head).package for each in bodies)
