"""The audit as FHIR AuditEvent: https://hl7.org/fhir/R5/auditevent.html

A virtual resource: made of a row when it is asked for, never stored. Its id names the row by its
moment and digest, so what an inspector noted can be found again. Pure; the door is gateway.audits.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from dmed.fhir import values
from dmed.fhir.query_model import Ignored
from dmed.kit.clock import instant
from dmed.kit.errors import InvalidError
from dmed.store.audit_read import Asked, Noted, Place

ID = re.compile(r"([0-9a-f]{12,15})-([0-9a-f]{32})")
_START = datetime(1970, 1, 1, tzinfo=UTC)
_INTERACTION = {"C": "create", "R": "read", "U": "update", "D": "delete", "E": "search-type"}
_DETAILS = {"vread": "vread", "history": "history-instance"}
_DICOM = "http://dicom.nema.org/resources/ontology/DCM"
_EVENT_TYPE = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_OUTCOME = "http://terminology.hl7.org/CodeSystem/audit-event-outcome"
_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_SIGN_IN = ("sign-in", "sign-out")
_OUTCOMES = {"0": (100, 399), "4": (400, 499), "8": (500, 599)}
_SHOWN = {"0": "Success", "4": "Minor failure", "8": "Serious failure"}
_PREFIX = re.compile(r"(eq|ge|gt|le|lt|sa|eb)?(.*)", re.DOTALL)
USER_SYSTEM = "urn:dmed:user"
"""System of an actor that is told by its sign-in name."""
KNOWN = ("_id", "_count", "_sort", "_total", "_cursor", "_format", "_pretty", "patient", "agent",
         "agent-role", "action", "date", "entity", "entity-type", "outcome", "purpose")  # fmt: skip
"""The parameters that a search of the audit takes; others are reported as ignored."""


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970."""
    return (moment - _START) // timedelta(microseconds=1)


def event_id(row: Noted) -> str:
    """The id of a row as a resource."""
    return f"{microseconds(row.at):x}-{row.digest.hex()}"


def place_of(id_: str) -> Place | None:
    """The row that an id names, or None where it is no id of the audit."""
    match = ID.fullmatch(id_)
    if match is None:
        return None
    return _START + timedelta(microseconds=int(match[1], 16)), bytes.fromhex(match[2])


def event(row: Noted, actors: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """The AuditEvent of a row; `actors` are (name to show, Practitioner id) by sign-in name."""
    made: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": event_id(row),
        "meta": {"lastUpdated": instant(row.at)},
        "category": [_category(row)],
        "code": _code(row),
        "action": row.action,
        "recorded": instant(row.at),
        "outcome": _outcome(row.outcome),
    }
    if row.purpose:
        made["authorization"] = [{"coding": [{"system": _REASON, "code": row.purpose}]}]
    if row.patient:
        made["patient"] = {"reference": f"Patient/{row.patient}"}
    made["agent"] = [_agent(row, actors)]
    made["source"] = {"observer": {"display": "DMED"}}
    entity = _entity(row)
    if entity:
        made["entity"] = [entity]
    return made


def _category(row: Noted) -> dict[str, Any]:
    if row.detail.startswith(_SIGN_IN):
        return {"coding": [{"system": _DICOM, "code": "110114", "display": "User Authentication"}]}
    return {"coding": [{"system": _EVENT_TYPE, "code": "rest", "display": "Restful Operation"}]}


def _code(row: Noted) -> dict[str, Any]:
    """What was done: the interaction, or the platform's own word where there is none."""
    made: dict[str, Any] = {}
    if row.action != "E" or row.type or row.query:
        code = _DETAILS.get(row.detail, _INTERACTION[row.action])
        made["coding"] = [{"system": "http://hl7.org/fhir/restful-interaction", "code": code}]
    if row.detail and row.detail not in _DETAILS:
        made["text"] = row.detail
    return made or {"text": "request"}


def _outcome(status: int) -> dict[str, Any]:
    code = "0" if status < 400 else "4" if status < 500 else "8"  # Kinds of HTTP status.
    return {"code": {"system": _OUTCOME, "code": code, "display": _SHOWN[code]},
            "detail": [{"text": str(status)}]}  # fmt: skip  # One outcome.


def _agent(row: Noted, actors: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    name, practitioner = actors.get(row.subject, ("", ""))
    who: dict[str, Any] = {"identifier": {"system": USER_SYSTEM, "value": row.subject or "-"}}
    if practitioner:
        who["reference"] = f"Practitioner/{practitioner}"
    if name:
        who["display"] = name
    made: dict[str, Any] = {}
    if row.role:
        made["role"] = [{"text": row.role}]
    made["who"] = who
    made["requestor"] = True
    return made


def _entity(row: Noted) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if row.type and row.id:
        version = f"/_history/{row.vid}" if row.vid else ""
        made["what"] = {"reference": f"{row.type}/{row.id}{version}"}
    elif row.type:
        made["what"] = {"type": row.type, "display": row.type}
    if row.query:
        made["query"] = base64.b64encode(row.query.encode()).decode()
    return made


# What is asked ---------------------------------------------------------------------------------


def parse(
    pairs: Sequence[tuple[str, str]], *, count_default: int, count_max: int, strict: bool
) -> tuple[Asked, tuple[Ignored, ...], list[tuple[str, str]]]:
    """A search of the audit; the parameters left out; and the pairs that were understood.

    InvalidError for a value that cannot be read, and for an unknown parameter when strict.
    `agent` values are left as they are given: the door finds the sign-in names.
    """
    asked: dict[str, Any] = {"count": count_default}
    ignored: list[Ignored] = []
    kept: list[tuple[str, str]] = []
    for name, value in pairs:
        if name not in KNOWN:
            reason = f"{name[:60]!r} is no search parameter of the audit"
            if strict:
                raise InvalidError(reason, name[:60])
            ignored.append(Ignored(name[:60], reason))
            continue
        if not value:
            continue
        kept.append((name, value))
        if name == "date":
            _narrow(asked, value)
        elif name in _READERS:
            field, read = _READERS[name]
            _both(asked, field, tuple(read(part) for part in value.split(",")), name)
        else:
            _special(asked, name, value, count_max)
    _entities(asked)
    return Asked(**asked), tuple(ignored), kept


def _both(asked: dict[str, Any], field: str, found: tuple[Any, ...], name: str) -> None:
    """Two parameters of one name must both hold."""
    if field in asked:
        found = tuple(one for one in found if one in asked[field])
        if not found:
            found = ("",)
    if not found:
        raise InvalidError(f"{name} is empty", name)
    asked[field] = found


def _reference(type_: str, text: str) -> str:
    kind, _, id_ = text.rpartition("/")
    if kind and kind.rpartition("/")[2] != type_:
        raise InvalidError(f"{text[:60]!r} is no {type_}")
    return id_


def _action(text: str) -> str:
    code = text.rpartition("|")[2]
    if code not in _INTERACTION:
        raise InvalidError(f"action={text[:40]!r}: one of C, R, U, D, E", "action")
    return code


def _status(text: str) -> tuple[int, int]:
    code = text.rpartition("|")[2]
    if code in _OUTCOMES:
        return _OUTCOMES[code]
    if len(code) == 3 and code.isascii() and code.isdecimal():  # An HTTP status.
        return int(code), int(code)
    raise InvalidError(f"outcome={text[:40]!r}: 0, 4, 8 or an HTTP status", "outcome")


def _what(text: str) -> str:
    parts = text.split("/_history", maxsplit=1)[0].split("/")
    if len(parts) < 2:  # Type and id.
        raise InvalidError(f"entity={text[:60]!r}: Type/id", "entity")
    return "/".join(parts[-2:])


def _code_of(text: str) -> str:
    return text.rpartition("|")[2]


_READERS: dict[str, tuple[str, Any]] = {
    "patient": ("patients", lambda text: _reference("Patient", text)),
    "agent": ("subjects", str),
    "agent-role": ("roles", _code_of),
    "action": ("actions", _action),
    "outcome": ("outcomes", _status),
    "purpose": ("purposes", _code_of),
    "entity": ("entities", _what),
    "entity-type": ("types", _code_of),
}


def _entities(asked: dict[str, Any]) -> None:
    entities = asked.pop("entities", None)
    if entities is None:
        return
    if len({one.partition("/")[0] for one in entities}) > 1:
        raise InvalidError("entity: one type at a time", "entity")
    asked["types"] = (entities[0].partition("/")[0],)
    asked["ids"] = tuple(one.partition("/")[2] for one in entities)


def _special(asked: dict[str, Any], name: str, value: str, count_max: int) -> None:
    if name == "_count":
        if not (value.isascii() and value.isdecimal() and len(value) < 10):  # Digits.
            raise InvalidError(f"_count={value[:40]!r} is no whole number", "_count")
        asked["count"] = max(1, min(int(value), count_max))
    elif name == "_sort" and value != "-date":
        raise InvalidError("the audit is sorted by -date alone", "_sort")
    elif name in {"_cursor", "_id"}:
        place = place_of(value)
        if place is None:
            raise InvalidError(f"{name}: no row of the audit has this id", name)
        if name == "_cursor":
            asked["after"] = place
        else:
            asked["since"], asked["until"] = place[0], place[0] + timedelta(microseconds=1)


def _narrow(asked: dict[str, Any], value: str) -> None:
    """The bounds of a date, with those of the others."""
    match = _PREFIX.fullmatch(value)
    prefix, text = (match[1] or "eq", match[2]) if match else ("eq", value)
    low, high = values.date_bounds(text)
    first, after = _moment(low), _moment(high + 1)
    since, until = {
        "eq": (first, after), "ge": (first, None), "gt": (after, None), "sa": (after, None),
        "le": (None, after), "lt": (None, first), "eb": (None, first),
    }[prefix]
    if since is not None:
        asked["since"] = max(since, asked.get("since") or since)
    if until is not None:
        asked["until"] = min(until, asked.get("until") or until)


def _moment(microseconds_: int) -> datetime:
    try:
        return _START + timedelta(microseconds=microseconds_)
    except OverflowError:
        return datetime(9999, 1, 1, tzinfo=UTC)
