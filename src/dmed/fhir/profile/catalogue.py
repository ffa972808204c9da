"""The profiles, value sets and questionnaires that are installed, compiled when first asked for."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from dmed.fhir.bindings import GuideValueSets, ValueSets
from dmed.fhir.facts import facts
from dmed.fhir.profile.build import Builder
from dmed.fhir.profile.definition import CORE, Definition, Node, define
from dmed.fhir.profile.run import Check, Item, ProfileRun

KINDS = frozenset({"StructureDefinition", "ValueSet", "CodeSystem", "Questionnaire"})
"""The types of resource that validation learns from."""


class Head(msgspec.Struct):
    """What names a definition."""

    resource_type: str = msgspec.field(name="resourceType", default="")
    url: str = ""
    version: str = ""
    derivation: str = ""


_head = msgspec.json.Decoder(Head)


class _Lazy(Mapping[str, Mapping[str, Any]]):
    """Definitions by address, decoded when asked for; who asks keeps what he needs."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}

    def __getitem__(self, url: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = msgspec.json.decode(self.bodies[url])
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.bodies)

    def __len__(self) -> int:
        return len(self.bodies)


PROFILES = Path(__file__).parent.parent / "data" / "r5.profiles"


@cache
def _base_profiles() -> Mapping[str, bytes]:
    """R5's own profiles (vital signs and others) by address, made by tools/compile_profiles.py."""
    lines = zlib.decompress(PROFILES.read_bytes()).splitlines()
    return {_head.decode(line).url: line for line in lines}


class Catalogue:
    """What is installed. `resources` are bodies in JSON; of one address the last one counts.

    Anything that is no definition is left aside, and so are R5's own types, whose rules are the
    facts; R5's own profiles are always there. `value_sets` answers for bindings; by default from
    the definitions themselves.
    """

    def __init__(
        self, resources: Iterable[bytes] = (), value_sets: ValueSets | None = None
    ) -> None:
        self._bodies = {kind: _Lazy() for kind in KINDS}
        self._versions: dict[str, str] = {}
        for body in resources:
            self._add(body)
        own = GuideValueSets(self._bodies["ValueSet"], self._bodies["CodeSystem"])
        self.value_sets: ValueSets = value_sets or own
        self._definitions: dict[str, Definition | None] = {}
        self._checks: dict[str, Check | None] = {}

    def _add(self, body: bytes) -> None:
        try:
            head = _head.decode(body)
        except msgspec.MsgspecError:
            return
        is_core = head.url.removeprefix(CORE) in facts().types
        if head.resource_type in KINDS and head.url and not is_core:
            self._bodies[head.resource_type].bodies[head.url] = body
            self._versions[head.url] = head.version

    def __bool__(self) -> bool:
        return bool(self._bodies["StructureDefinition"].bodies)

    @property
    def profiles(self) -> tuple[str, ...]:
        """The addresses of all installed StructureDefinitions."""
        return tuple(self._bodies["StructureDefinition"].bodies)

    def _find(self, canonical: str) -> Mapping[str, Any] | None:
        url = canonical.partition("|")[0]
        found = self._bodies["StructureDefinition"].get(url)
        if found is None and url in _base_profiles():
            found = msgspec.json.decode(_base_profiles()[url], type=dict[str, Any])
        return found

    def version_of(self, canonical: str) -> str:
        """The installed version of a definition, or ""."""
        url = canonical.partition("|")[0]
        own = facts().version if url in _base_profiles() else ""
        return self._versions.get(url, own)

    def definition(self, canonical: str) -> Definition | None:
        """The tree of a profile, or None when it is not installed."""
        url = canonical.partition("|")[0]
        if url not in self._definitions:
            found = self._find(url)
            self._definitions[url] = None if found is None else define(found, self._find)
        return self._definitions[url]

    def questionnaire(self, canonical: str) -> Mapping[str, Any] | None:
        """A Questionnaire as decoded JSON, or None when it is not here."""
        body = self._bodies["Questionnaire"].bodies.get(canonical.partition("|")[0])
        found: Mapping[str, Any] | None = (
            None if body is None else msgspec.json.decode(body, type=dict[str, Any])
        )
        return found

    def root_of(self, canonical: str) -> Node | None:
        """The root of a profile's tree."""
        found = self.definition(canonical)
        return None if found is None else found.root

    def type_of(self, canonical: str) -> str:
        """The type of a profile, or of R5's own address of a type; "" when it is not known."""
        url = canonical.partition("|")[0]
        name = url.removeprefix(CORE)
        if name in facts().types:
            return name
        found = self.definition(url)
        return "" if found is None else found.type

    def check_of(self, canonical: str) -> Check | None:
        """The check of a profile, compiled once; None when it is not installed."""
        url = canonical.partition("|")[0]
        if url not in self._checks:
            found = self.definition(url)
            self._checks[url] = None if found is None else self._compiled(found)
        return self._checks[url]

    def _compiled(self, found: Definition) -> Check:
        inner = Builder(self).check(found.root, found.type)
        needs = found.base.partition("|")[0]
        base_known = needs.removeprefix(CORE) in facts().types or self._find(needs) is not None

        def check(item: Item, run: ProfileRun, /) -> None:
            if item.type != found.type and not facts().is_a(item.type, found.type):
                run.note("structure", f"the profile {found.url} is for {found.type}, this is a "
                         f"{item.type}", item.place)  # fmt: skip  # One sentence.
                return
            if not base_known and needs:
                run.note("not-supported", f"not checked in full: {found.url} derives from {needs}, "
                         "which is not installed", item.place, "information")  # fmt: skip
            if inner is not None:
                inner(item, run)

        return check
