"""The door to the audit: who looked, for the person's page, inspectors, and FHIR AuditEvent.

Looking into the audit is audited too. An inspector (the role's rule for AuditEvent) sees every
row; whoever acts for one person (a patient, an app with a patient in context) sees that person's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from dmed.fhir.query_model import Ignored
from dmed.kit import clock
from dmed.kit.errors import NotFoundError
from dmed.kit.settings import Settings
from dmed.store import audit as store_audit
from dmed.store import audit_figures, audit_read
from dmed.store import care as store_care
from dmed.store.audit_figures import Alarm, Look
from dmed.store.audit_read import Asked, Noted, Place
from dmed.store.model import Scope
from dmed.store.pool import Database
from dmed.trust import audit_events
from dmed.trust.decide import Action, Context, decide
from dmed.trust.gateway.common import RefusedError, asked_text, audit_of
from dmed.trust.gateway.persons import is_citizen, persons
from dmed.trust.model import Role, Subject
from dmed.trust.oauth import scopes as smart
from dmed.trust.tables import Told

__all__ = ["Alarm", "Asked", "AuditDoor", "AuditPage", "Look", "Noted"]
TYPE = "AuditEvent"
_STAFF = (Role.DOCTOR.value, Role.PHARMACIST.value, Role.REGISTRAR.value)
LOOK_BACK = timedelta(days=31)
"""How far a search looks back that says neither a person nor a date."""


class AuditPage(msgspec.Struct, frozen=True):
    """One page of AuditEvents, newest first."""

    events: list[dict[str, Any]]
    ignored: tuple[Ignored, ...]
    pairs: list[tuple[str, str]]
    """The parameters that were understood, without the cursor."""
    next_cursor: str = ""
    notes: tuple[str, ...] = ()


class AuditDoor:
    """Made by `Gateway.audits()`; all methods take the Subject first."""

    def __init__(self, db: Database, settings: Settings, context: Context) -> None:
        self._db = db
        self._settings = settings
        self._context = context

    async def search(
        self, subject: Subject, pairs: Sequence[tuple[str, str]], *, strict: bool = False,
        patient: str = "",
    ) -> AuditPage:
        """A page of what fits; with `patient` of this person alone. RefusedError, InvalidError.

        A search without person and date looks LOOK_BACK back, and says so.
        """
        await self._check(subject, Action.SEARCH)
        asked, ignored, kept = audit_events.parse(
            pairs, count_default=self._settings.count_default,
            count_max=self._settings.count_max, strict=strict)
        asked = self._within(asked, await self._limit(subject, "search"), patient)
        notes: tuple[str, ...] = ()
        if asked.patients is None and asked.since is None:
            asked = msgspec.structs.replace(asked, since=clock.now() - LOOK_BACK)
            notes = (f"Without patient and date only the last {LOOK_BACK.days} days are searched",)
        if asked.subjects is not None:
            asked = msgspec.structs.replace(asked, subjects=await self._subjects(asked.subjects))
        rows = await audit_read.rows(
            self._db, msgspec.structs.replace(asked, count=asked.count + 1))
        shown = rows[: asked.count]
        await self._note(subject, "E", asked_text(pairs), shown)
        more = audit_events.event_id(shown[-1]) if len(rows) > len(shown) and shown else ""
        pairs_ = [pair for pair in kept if pair[0] != "_cursor"]
        return AuditPage(await self._events(shown), ignored, pairs_, more, notes)

    async def read(self, subject: Subject, id_: str) -> dict[str, Any]:
        """The AuditEvent of an id; NotFoundError where there is none that may be seen."""
        await self._check(subject, Action.READ)
        place = audit_events.place_of(id_)
        row = None if place is None else await audit_read.one(self._db, place)
        limit = await self._limit(subject, "read")
        if row is None or (limit is not None and row.patient not in limit):
            await self._note(subject, "R", "", [], id_, outcome=404)
            raise NotFoundError(f"there is no {TYPE}/{id_}")
        await self._note(subject, "R", "", [row], id_)
        return (await self._events([row]))[0]

    async def looked(
        self, subject: Subject, patient: str, *, since: datetime | None = None,
        before: datetime | None = None, count: int = 200,
    ) -> list[Noted]:
        """Who looked at a person's record, newest first; whoever calls has decided that the
        subject may know it: a registrar or doctor at the person's side. Audited as a look.
        """
        asked = Asked(patients=(patient,), since=since, until=before, count=count)
        rows = await audit_read.rows(self._db, asked)
        row = audit_of(subject, "E", TYPE, patient=patient, detail="who looked")
        await store_audit.note(self._db, [row])
        return rows

    async def row_of(self, patient: str, place: Place) -> Noted | None:
        """One row about a person, for an act that was decided and is audited by itself."""
        row = await audit_read.one(self._db, place)
        return row if row is not None and row.patient == patient else None

    async def rows(self, subject: Subject, asked: Asked) -> list[Noted]:
        """Rows for an inspector's page; RefusedError for anybody else."""
        await self._check(subject, Action.SEARCH)
        rows = await audit_read.rows(self._db, asked)
        await self._note(subject, "E", "inspection", rows)
        return rows

    async def figures(
        self, since: datetime, until: datetime, roles: Sequence[str]
    ) -> list[Look]:
        """Who of these roles looked at whom: for the platform's own job of finding what is unusual.

        It discloses nothing to anybody; what is found becomes cases, which are shown by role.
        """
        rows = await Told(self._db.hot).fetch(
            "select name, practitioner, organisation from account where practitioner <> ''")
        actors = [audit_figures.Actor(*row) for row in rows]
        return await audit_figures.looks(self._db, since, until, actors, roles)

    async def alarms(self, since: datetime, canaries: Sequence[str]) -> list[Alarm]:
        """Every access to canary persons since a moment, for the same job."""
        return await audit_figures.alarms(self._db, since, canaries)

    async def begun_alone(
        self, since: datetime, count: int
    ) -> list[tuple[store_care.Begun, Noted]]:
        """Records by which a member of staff began care by the own word, with who wrote each; for
        the platform's own job.
        """
        scope = Scope("oversight")
        found = []
        for one in await store_care.begun_alone(self._db, scope, since, count):
            rows = await audit_read.rows(self._db, Asked(
                patients=(one.patient,), types=(one.type,), ids=(one.id,), actions=("C", "U"),
                roles=_STAFF, outcomes=((200, 299),), count=1))
            found += [(one, row) for row in rows]
        return found

    async def people(self, names: Iterable[str]) -> dict[str, tuple[str, str]]:
        """(name to show, Practitioner id) of sign-in names."""
        rows = await Told(self._db.hot).fetch(
            "select name, display, practitioner from account where name = any($1::text[])",
            sorted(set(names)))
        return {row["name"]: (row["display"], row["practitioner"]) for row in rows}

    async def staff_of(self, organisation: str) -> list[str]:
        """The sign-in names of those who have a post at an institution; nobody for ""."""
        rows = await Told(self._db.hot).fetch(
            "select name from account where $1 <> '' and organisation = $1"
            " union select account from account_post where $1 <> '' and organisation = $1",
            organisation)
        return [row["name"] for row in rows]

    async def _events(self, rows: Sequence[Noted]) -> list[dict[str, Any]]:
        actors = await self.people(row.subject for row in rows) if rows else {}
        return [audit_events.event(row, actors) for row in rows]

    async def _subjects(self, given: Sequence[str]) -> tuple[str, ...]:
        """Sign-in names of what `agent` says: a name, or Practitioner/id."""
        ids = [one.rpartition("/")[2] for one in given if "Practitioner/" in one]
        names = [one.rpartition("|")[2] for one in given if "Practitioner/" not in one]
        if ids:
            rows = await Told(self._db.hot).fetch(
                "select name from account where practitioner = any($1::text[])", ids)
            names += [row["name"] for row in rows]
        return tuple(names)

    async def _limit(self, subject: Subject, action: str) -> tuple[str, ...] | None:
        """The persons of whom a subject may see rows; None is no limit."""
        limit = smart.patients(subject.scopes, action, TYPE)
        if not is_citizen(subject):
            return limit
        own = await persons(self._db, subject)
        return own if limit is None else tuple(one for one in limit if one in own)

    def _within(self, asked: Asked, limit: tuple[str, ...] | None, patient: str) -> Asked:
        for allowed in (limit, (patient,) if patient else None):
            if allowed is not None:
                wanted = asked.patients
                inside = allowed if wanted is None else tuple(set(wanted) & set(allowed))
                asked = msgspec.structs.replace(asked, patients=inside)
        return asked

    async def _check(self, subject: Subject, action: Action) -> None:
        verdict = decide(subject, action, TYPE, self._context)
        if not verdict.allowed:
            letter = "R" if action is Action.READ else "E"
            await store_audit.note(self._db, [audit_of(subject, letter, TYPE, outcome=403)])
            raise RefusedError(verdict)

    async def _note(
        self, subject: Subject, action: str, query: str, rows: Sequence[Noted], id_: str = "",
        *, outcome: int = 200,
    ) -> None:
        about = audit_of(subject, action, TYPE, id_, query=query, outcome=outcome)
        await store_audit.disclose(self._db, about, audit_read.patients_of(rows))
