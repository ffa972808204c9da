"""Writing places of the tree: checked against what stands there, in one transaction."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dmed.kit import i18n
from dmed.kit.errors import ConflictError, Issue, UnprocessableError
from dmed.modules.facilities import tables
from dmed.modules.facilities.model import Draft, Equipment, Fault, Shape
from dmed.modules.facilities.rules import TAX_SYSTEM, records
from dmed.modules.facilities.rules.reading import ABOVE
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)
LEVELS_MAX = 12
"""Deepest tree: ministry, department, institution, branch, department, ward, bed and some more."""
_TREE = "facilities/tree"


class FaultsError(UnprocessableError):
    """A draft cannot be kept; `faults` say why by field, for people in their language."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__(issues=tuple(
            Issue("invalid", sentence(one), one.field) for one in faults))


def sentence(fault: Fault) -> str:
    """The English sentence of a fault."""
    return i18n.translator().speech("en")(fault.key, **fault.values)


def parent_of(record: dict[str, Any]) -> str:
    """The id of the record of the same type above, or ""."""
    return str(record.get("partOf", {}).get("reference", "")).rpartition("/")[2]


def owner_of(record: dict[str, Any]) -> str:
    """The id of the institution to which a record of the tree belongs: its own for one."""
    if record["resourceType"] == "Organization":
        return str(record["id"])
    by = record.get("managingOrganization") or record.get("providedBy") or {}
    return str(by.get("reference", "")).rpartition("/")[2]


async def check_tree(unit: GatewayUnit, type_: str, id_: str) -> None:
    """The Keeper of plain REST writes: nothing stands below itself, nothing that has places below
    it is deleted. ConflictError, and all is undone.
    """
    record = await unit.get(type_, id_)
    if record is None:
        below = await unit.find(type_, f"partof={type_}/{id_}&_count=1&_total=none")
        if below:
            raise ConflictError(f"{type_}/{id_} has places below it: move or close those first",
                                f"{type_}.partOf")
        return
    await check_place(unit, type_, id_, record)


async def check_place(unit: GatewayUnit, type_: str, id_: str, record: dict[str, Any]) -> None:
    """ConflictError where a record would stand below itself or deeper than LEVELS_MAX. One unit
    at a time looks, so that two moves at once cannot make a circle together.
    """
    if not parent_of(record):
        return
    await unit.lock(f"{_TREE}/{type_}")
    seen, at = [id_], record
    while parent_of(at):
        above = parent_of(at)
        if above in seen:
            raise ConflictError(f"A circle: {type_}/{above} would stand below itself",
                                f"{type_}.partOf")
        if len(seen) >= LEVELS_MAX:
            raise ConflictError(f"The tree would be deeper than {LEVELS_MAX} levels",
                                f"{type_}.partOf")
        seen.append(above)
        found = await unit.get(type_, above)
        if found is None:
            return  # A literal reference may name what is not here (yet).
        at = found


async def put(unit: GatewayUnit, draft: Draft, above: dict[str, Any] | None, id_: str = "") -> (
        tuple[str, str]):
    """Keeps a place below the record `above`: ("made", "changed" or "same", its id).

    FaultsError where the tree does not allow it.
    """
    if above is not None and records.shape_of(above) not in ABOVE[draft.shape]:
        raise FaultsError([Fault("parent", "facilities.fault.parent-shape", {
            "above": records.shape_of(above), "shape": draft.shape})])
    if draft.shape is Shape.EQUIPMENT:
        return await _put_equipment(unit, draft, above)
    if records.type_of(draft.shape) == "Organization":
        return await _put_organisation(unit, draft, above, id_)
    assert above is not None, "the reader of drafts asks for a parent"
    owner = owner_of(above)
    around = above["id"] if above["resourceType"] == "Location" else ""
    type_, place_id = records.type_of(draft.shape), id_ or records.id_of(draft.code)
    before = await unit.get(type_, place_id, lock=True)
    make = records.service if type_ == "HealthcareService" else records.location
    return await _write(unit, type_, place_id, before, make(draft, owner, around, before)), place_id


async def _put_equipment(
    unit: GatewayUnit, draft: Draft, above: dict[str, Any] | None
) -> tuple[str, str]:
    assert above is not None
    place = above["id"] if above["resourceType"] == "Location" else ""
    done = await tables.save_equipment(unit, Equipment(
        code=draft.code, organisation=owner_of(above), place=place, name=draft.name,
        maker=draft.maker, serial=draft.serial, checked_until=draft.checked_until,
        is_active=draft.is_active))
    return done, draft.code


async def _put_organisation(
    unit: GatewayUnit, draft: Draft, above: dict[str, Any] | None, id_: str
) -> tuple[str, str]:
    holder = await holder_of_tax(unit, draft.tax_id) if draft.tax_id else None
    if holder is not None and id_ and holder["id"] != id_:
        raise FaultsError([_taken("tax_id", draft.tax_id, holder)])
    organisation_id = id_ or (holder["id"] if holder else records.id_of(draft.code))
    before = await unit.get("Organization", organisation_id, lock=True)
    insured = await _holder(unit, records.SHIF_SYSTEM, draft.shif_id) if draft.shif_id else None
    if insured is not None and insured["id"] != organisation_id:
        raise FaultsError([_taken("shif_id", draft.shif_id, insured)])
    record = records.organisation(draft, above["id"] if above else "", before)
    done = await _write(unit, "Organization", organisation_id, before, record)
    site_id = records.site_id(organisation_id)
    stood = await unit.get("Location", site_id, lock=True)
    at = records.site(draft, organisation_id, stood)
    if at is not None:
        site_done = await _write(unit, "Location", site_id, stood, at)
        done = "changed" if done == "same" and site_done != "same" else done
    return done, organisation_id


async def holder_of_tax(unit: GatewayUnit, tax_id: str) -> dict[str, Any] | None:
    """The institution with a tax number, under the lock of this number."""
    return await _holder(unit, TAX_SYSTEM, tax_id)


async def _holder(unit: GatewayUnit, system: str, value: str) -> dict[str, Any] | None:
    await unit.lock(f"facilities/{system}|{value}")
    asked = f"identifier={quote(system, safe='')}|{value}"
    found = await unit.find("Organization", f"{asked}&_count=1&_total=none")
    return found[0] if found else None


def _taken(field: str, value: str, holder: dict[str, Any]) -> Fault:
    return Fault(field, "facilities.fault.taken", {"value": value, "name": holder.get("name", "")})


async def _write(
    unit: GatewayUnit, type_: str, id_: str, before: dict[str, Any] | None, record: dict[str, Any]
) -> str:
    record["id"] = id_
    if before is not None and _bare(before) == _bare(record):
        return "same"
    if before is None or parent_of(before) != parent_of(record):
        await check_place(unit, type_, id_, record)
    await unit.update(type_, id_, record)
    return "made" if before is None else "changed"


def _bare(record: dict[str, Any]) -> dict[str, Any]:
    """A record without the platform's own stamps."""
    meta = {name: value for name, value in record.get("meta", {}).items()
            if name not in {"versionId", "lastUpdated"}}
    return {**record, "meta": meta}


async def may_edit(gateway: Gateway, subject: Subject, organisation_id: str) -> bool:
    """An administrator edits every place, a registrar those of the own institution and below."""
    if subject.role is Role.ADMINISTRATOR:
        return True
    if subject.role is not Role.REGISTRAR or not subject.organisation:
        return False
    at = organisation_id
    for _ in range(LEVELS_MAX):
        if at == subject.organisation:
            return True
        if not at:
            return False
        at = parent_of(await gateway.get(subject, "Organization", at))
    return False


async def save(
    gateway: Gateway, subject: Subject, draft: Draft, parent: str, id_: str = "", version: str = ""
) -> str:
    """Keeps what a form says, below `parent` ("Type/id", a tax number, or "" for a root); its id.

    FaultsError where it cannot stand so, or somebody else changed it since `version`.
    """
    async with gateway.unit(subject) as unit:
        type_ = records.type_of(draft.shape)
        if id_ and version:
            stored = await unit.stored(type_, id_, lock=True)
            if stored is not None and str(stored.vid) != version:
                raise FaultsError([Fault("version", "facilities.fault.changed")])
        above = await _parent(unit, parent) if parent else None
        if parent and above is None:
            raise FaultsError([Fault("parent", "facilities.fault.parent-unknown",
                                     {"parent": parent[:40]})])
        _, done = await put(unit, draft, above, id_)
    return done


async def _parent(unit: GatewayUnit, text: str) -> dict[str, Any] | None:
    if text.isdecimal() and len(text) == 9:
        return await holder_of_tax(unit, text)
    type_, _, id_ = text.rpartition("/")
    if type_ not in {"", "Organization", "Location"} or not ID.fullmatch(id_):
        return None
    return await unit.get(type_ or "Organization", id_)
