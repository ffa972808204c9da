"""`dmed guide install`: the definitions of a FHIR package into the store, with its dependencies.

https://hl7.org/fhir/packages.html. What is installed again replaces what was there; running
workers learn of it within seconds (`trust.guides`).
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from dmed.apps.accounts import opened
from dmed.apps.database import Addresses, database, prepare
from dmed.apps.importing import produce, run_load
from dmed.apps.sources import Item, package_items
from dmed.kit.errors import InvalidError
from dmed.kit.settings import Settings
from dmed.store import definitions

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


class Package(msgspec.Struct):
    """What a folder or archive brings."""

    path: Path
    name: str = ""
    version: str = ""
    items: list[Item] = []
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
        made.items.append(item)
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


def install_guide(settings: Settings, path: Path) -> int:
    """Stores the definitions of a package or folder and of what it needs; newest wins.

    Lists what each brings, and which dependencies are not there. A dependency that is installed
    already stays as it is. Returns how many definitions were stored.
    """
    began = time.monotonic()
    packages, missing = with_dependencies(path)

    def items() -> Iterator[Item]:
        for package in packages:
            yield from package.items

    with database(settings) as addresses:
        asyncio.run(prepare(addresses))
        present = asyncio.run(_present(settings, addresses))
        packages = [each for each in packages[:-1] if each.name not in present] + packages[-1:]
        done = run_load(addresses, items(), produce, title=path.name, replace=True)
    for package in packages:
        named = f"{package.name} {package.version}".strip() or package.path.name
        sys.stdout.write(f"{named}\n")
        for name, count in sorted(package.counts.items()):
            sys.stdout.write(f"{count:6,} {name}\n")
    for name in missing:
        if name.partition(" ")[0] in present:
            continue
        sys.stdout.write(f"not here: {name} (profiles and codes of it are not checked)\n")
    seconds = time.monotonic() - began
    sys.stdout.write(
        f"{done.loaded:6,} stored, {done.faults:,} refused, {seconds:.1f} s; running servers "
        "validate with it within seconds\n")
    return done.loaded


async def _present(settings: Settings, addresses: Addresses) -> frozenset[str]:
    """The names of the guides that are installed."""
    async with opened(settings, addresses) as store:
        bodies = await definitions.bodies(store, ["ImplementationGuide"], _GUIDE_BYTES_MAX)
    return frozenset(msgspec.json.decode(each, type=_Head).package for each in bodies)
