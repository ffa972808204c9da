"""Gateway: every read and write of every floor above passes here, is decided and audited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import msgspec

from dmed.fhir import query, query_system
from dmed.fhir.query_model import Query
from dmed.fhir.query_pattern import Pattern
from dmed.kit.errors import DmedError, ForbiddenError, NotFoundError, PreconditionError
from dmed.kit.settings import Settings
from dmed.store import audit as store_audit
from dmed.store import care as store_care
from dmed.store import compartment as store_compartment
from dmed.store import confirm as store_confirm
from dmed.store import feed as store_feed
from dmed.store import history as store_history
from dmed.store import meta_used as store_meta
from dmed.store import read as store_read
from dmed.store import search as store_search
from dmed.store import search_pattern as store_pattern
from dmed.store import search_system as store_search_system
from dmed.store import unit as store_unit
from dmed.store import write as store_write
from dmed.store.model import AuditRow, HistoryPage, Scope, SearchPage, Stored, Written
from dmed.store.pool import Database
from dmed.trust.decide import (
    DEFINITIONS,
    Action,
    Context,
    Verdict,
    decide,
)
from dmed.trust.gateway import cards, files, kept, kept_patterns, prepare, references, seen
from dmed.trust.gateway.audits import AuditDoor
from dmed.trust.gateway.common import (
    LETTERS,
    RefusedError,
    app_scope,
    asked_text,
    audit_of,
    bodies,
    check_type,
    decoded,
    facts_of,
    mismatch,
    needs_institutions,
    pairs_of,
    scope_of,
    within,
)
from dmed.trust.gateway.people import PeopleDoor
from dmed.trust.gateway.persons import beside, is_citizen, kept_persons, persons
from dmed.trust.gateway.unit import (
    Change,
    Content,
    GatewayUnit,
    check_same_id,
    demanded,
    make_ready,
)
from dmed.trust.model import Role, Subject
from dmed.trust.oauth import scopes as smart
from dmed.trust.request import request_id
from dmed.trust.tables import Told, keys_of

T = TypeVar("T")
_ACT = Context(is_plain=False)
_PLAIN = Context(is_plain=True)


class Followed(NamedTuple):
    """A stretch of the change feed: where it ends, and the records that changed (None: gone)."""

    position: tuple[int, int]
    records: dict[tuple[str, str], dict[str, Any] | None]
    read: int = 0
    """Changes that were passed, those of other types with them; below the limit at the end."""


class Gateway:
    """The door to the records. All methods take the Subject first; refusals are RefusedError."""

    def __init__(self, db: Database, settings: Settings, context: Context = _ACT) -> None:
        self.settings = settings
        self._db = db
        self.context = context

    def plain(self) -> Gateway:
        """The same door for plain FHIR REST, where a person acts outside of any use case."""
        return Gateway(self._db, self.settings, _PLAIN)

    def audits(self) -> AuditDoor:
        """The door to the audit itself: who looked, and FHIR AuditEvent."""
        return AuditDoor(self._db, self.settings, self.context)

    def people(self) -> PeopleDoor:
        """The door to the index of persons: who may be meant."""
        return PeopleDoor(self, self._db)

    # Reading

    async def read(self, subject: Subject, type_: str, id_: str) -> Stored:
        """The current version. NotFoundError, GoneError after a delete, RefusedError."""
        if not decide(subject, Action.READ, type_, self.context).allowed:
            await self.check_allowed(subject, Action.READ, type_, id_)
        scope = self.known_scope(subject) or await self._scope(subject, Action.READ, type_)
        if scope.patients is not None:
            scope = beside(scope, type_)
        if subject.scopes.is_app:
            scope = await self._app_read(subject, scope, type_, id_)
        stored = await store_read.read(
            self._db, scope, audit_of(subject, "R", type_, id_), type_, id_
        )
        return self.seen(subject, stored)

    def seen(self, subject: Subject, stored: Stored) -> Stored:
        """The version without what the role does not see in plain FHIR REST."""
        return seen.of_record(subject, self.context, stored)

    def hides(self, subject: Subject, type_: str, element: str) -> bool:
        """Whether the role does not see an element of a type in plain FHIR REST."""
        return seen.hides(subject, self.context, type_, element)

    async def vread(self, subject: Subject, type_: str, id_: str, vid: int) -> Stored:
        """One version; errors as `read`."""
        await self.check_allowed(subject, Action.READ, type_, id_)
        scope = await self._scope(subject, Action.READ, type_)
        self._check_unrestricted(subject, type_)
        audit = audit_of(subject, "R", type_, id_, detail="vread")
        return self.seen(
            subject, await store_read.vread(self._db, scope, audit, type_, id_, vid))

    async def history(
        self,
        subject: Subject,
        type_: str = "",
        id_: str = "",
        *,
        since: datetime | None = None,
        at: tuple[int, int] | None = None,
        rising: bool = False,
        count: int = 0,
        cursor: str = "",
    ) -> HistoryPage:
        """Versions newest first: of one record, of a type, or of all types that may be seen.

        At most `count` versions (0: the default page), on from `cursor`; `since`, `at` and
        `rising` as in the store's `history`.
        """
        if type_:
            await self.check_allowed(subject, Action.READ, type_, id_)
            self._check_unrestricted(subject, type_)
        size = min(count or self.settings.count_default, self.settings.count_max)
        page = await store_history.history(
            self._db,
            await self._scope(subject, Action.READ, type_),
            audit_of(subject, "R", type_, id_, detail="history"),
            type_ or None,
            id_ or None,
            since=since,
            at=at,
            rising=rising,
            count=size,
            cursor=cursor or None,
        )
        return seen.of_history(subject, self.context, page)

    async def search(
        self,
        subject: Subject,
        type_: str,
        pairs: Sequence[tuple[str, str]],
        *,
        strict: bool = False,
        patient: str = "",
    ) -> tuple[Query, SearchPage]:
        """One page of a search; with `patient` in this patient's compartment alone.

        Faulty parameters are InvalidError; unknown ones too when strict, else `query.ignored`.
        """
        await self.check_allowed(subject, Action.SEARCH, type_)
        more = smart.restriction(subject.scopes, "search", type_)
        asked = query.parse(type_, list(pairs), settings=self.settings, strict=strict)
        await self._check_fields(subject, asked)
        (wide,) = await cards.followed(self._db, [asked])
        if more:
            # What an app was let to is what its right says: that names the cards it may see.
            limit = query.parse(type_, more, settings=self.settings, strict=True)
            await self._check_fields(subject, limit)
            wide = msgspec.structs.replace(wide, criteria=(*wide.criteria, *limit.criteria))
        own = await self._scope(subject, Action.SEARCH, type_)
        scope = within(own, patient)
        if patient and own.patients is None:
            scope = await cards.widened(self._db, scope, patient)
        audit = audit_of(subject, "E", type_, query=asked_text(pairs), patient=patient)
        page = await store_search.search(self._db, scope, audit, wide)
        return asked, seen.of_page(subject, self.context, page)

    async def search_scope(self, subject: Subject, type_: str) -> Scope:
        """What a search of this type reaches; RefusedError where the subject may not search it."""
        await self.check_allowed(subject, Action.SEARCH, type_)
        return await self._scope(subject, Action.SEARCH, type_)

    async def search_pattern(self, subject: Subject, pattern: Pattern, id_: str) -> SearchPage:
        """As `search` of the pattern with this id, without reading and planning it again."""
        type_ = pattern.query.type
        if not decide(subject, Action.SEARCH, type_, self.context).allowed:
            await self.check_allowed(subject, Action.SEARCH, type_)
        await self._check_fields(subject, pattern.query)
        scope = await self._scope(subject, Action.SEARCH, type_)
        audit = audit_of(subject, "E", type_, query=pattern.link(id_))
        if further := await cards.others(self._db, id_):
            asked = cards.filled(pattern, id_, further)
            page = await store_search.search(self._db, scope, audit, asked)
        else:
            page = await store_pattern.search_pattern(self._db, scope, audit, pattern, id_)
        return seen.of_page(subject, self.context, page)

    async def _check_fields(self, subject: Subject, asked: Query) -> None:
        """Refuse, and audit, a search by fields that the role does not see in plain REST."""
        try:
            seen.check_query(subject, self.context, asked)
        except RefusedError as refusal:
            await self._note_refusal(subject, refusal)
            raise

    async def search_all(
        self,
        subject: Subject,
        pairs: Sequence[tuple[str, str]],
        *,
        strict: bool = False,
        patient: str = "",
        compartment: tuple[str, str] | None = None,
        only: str = "",
    ) -> tuple[query_system.SystemQuery, SearchPage]:
        """One page over several types: those of `_type`, else all that are there and may be seen.

        With `patient`, or `compartment` (name, id), within it; with `only` of this type alone.
        Errors as `search`; a type of `_type` that may not be seen is RefusedError.
        """
        own = await self._scope(subject, Action.SEARCH)
        scope = within(own, patient)
        if patient and own.patients is None:
            scope = await cards.widened(self._db, scope, patient)
        names = (only,) if only else query_system.types_of(pairs)
        for name in names:
            await self.check_allowed(subject, Action.SEARCH, name)
            self._check_unrestricted(subject, name)
        if not names:
            names = tuple(
                await self.types_of(subject, patient)
                if patient
                else await store_search_system.types_present(self._db, scope)
            )
        asked = query_system.parse_all(names, pairs, settings=self.settings, strict=strict)
        if compartment is not None:
            asked = query_system.within(asked, *compartment)
        for each in asked.queries:
            await self._check_fields(subject, each)
        wide = msgspec.structs.replace(
            asked, queries=tuple(await cards.followed(self._db, asked.queries)))
        audit = audit_of(subject, "E", query=asked_text(pairs), patient=patient)
        page = await store_search_system.search_all(self._db, scope, audit, wide)
        return asked, seen.of_page(subject, self.context, page)

    async def types_of(self, subject: Subject, patient: str) -> list[str]:
        """The types of which a person has records that the subject may see, in order."""
        await self.check_allowed(subject, Action.READ, "Patient", patient)
        scope = await self._scope(subject, Action.READ)
        return await store_compartment.types_of(self._db, scope, patient)

    async def meta_used(self, subject: Subject, type_: str = "") -> list[dict[str, Any]]:
        """The `meta` of records that together carry each profile, tag and label in use."""
        if type_:
            await self.check_allowed(subject, Action.READ, type_)
        scope = await self._scope(subject, Action.READ, type_)
        audit = audit_of(subject, "R", type_, detail="$meta")
        found = await store_meta.bodies(self._db, scope, audit, type_)
        return [decoded(body).get("meta", {}) for body in found]

    async def get(self, subject: Subject, type_: str, id_: str) -> dict[str, Any]:
        """A record as dict with Decimal; errors as `read`."""
        return decoded((await self.read(subject, type_, id_)).body)

    async def find(self, subject: Subject, type_: str, query_string: str) -> list[dict[str, Any]]:
        """What a search such as "code=x&_count=5" finds, as dicts; unknown parameters raise."""
        _, page = await self.search(subject, type_, pairs_of(query_string), strict=True)
        return bodies(page)

    async def find_about(
        self, subject: Subject, type_: str, patient: str, count: int
    ) -> list[dict[str, Any]]:
        """As `find` of "patient=Patient/{patient}&_count={count}", read and planned once for all
        persons; of all cards of the person, newest first.
        """
        pattern = None if subject.scopes.is_app else kept_patterns.of_person(
            self._db, type_, count, self.settings)
        if pattern is None:
            return await self.find(
                subject, type_, f"patient=Patient/{patient}&_count={count}&_total=none")
        return bodies(await self.search_pattern(subject, pattern, patient))

    async def written_since(
        self, types: Sequence[str], edge: int = 0
    ) -> tuple[list[tuple[str, str, int, bool]], int]:
        """(type, id, vid, is deleted) of what was committed to types of definitions since an edge,
        in the order of writing, and the next edge; without an edge nothing but the edge of now.

        A change may be told twice. It names definitions alone, no record of a person: no audit.
        """
        assert DEFINITIONS.issuperset(types), "only of definitions"
        if not edge:
            return [], (await store_feed.end(self._db)).xid + 1
        found, following = await store_feed.recent(self._db, types, edge)
        return [(each.type, each.id, each.vid, each.kind == "D") for each in found], following

    async def note_and_confirm(
        self, subject: Subject, detail: str, types: tuple[str, ...], edge: int
    ) -> tuple[list[int], int]:
        """The audit row of an act without a record, and with it, in one way to the database, the
        versions (vid) written since an edge as by `written_since`, and the next edge.
        """
        assert DEFINITIONS.issuperset(types), "only of definitions"
        audit = audit_of(subject, "E", detail=detail)
        found = await store_confirm.confirm(self._db, audit, types, edge)
        return [each.vid for each in found.changes], found.edge

    async def follow(
        self, subject: Subject, types: Sequence[str], after: tuple[int, int], limit: int
    ) -> Followed:
        """The next changes of the feed of some types with the records as they are now, for a job of
        the platform that counts; ForbiddenError for anybody who is no system.

        At least once and in the feed's order; audited as one act, since nobody is told anything.
        """
        if subject.role is not Role.SERVICE:
            await self.note(subject, "E", "change feed", outcome=403)
            raise ForbiddenError("The change feed is for systems")
        for type_ in types:
            await self.check_allowed(subject, Action.READ, type_)
        read = await store_feed.changes(self._db, after, limit=limit)
        if not read:
            return Followed(after, {})
        told = [change for change in read if change.type in types]
        found = await store_feed.current(self._db, told)
        if told:
            await self.note(subject, "E", f"change feed: {len(told)} changes counted")
        records = {(change.type, change.id): found.get((change.type, change.id))
                   for change in told}
        return Followed(read[-1].position, {
            key: None if body is None else decoded(body) for key, body in records.items()},
            len(read))

    def held(self, name: str, make: Callable[[], T]) -> T:
        """What a module keeps in this worker for this installation, made when first asked for."""
        if name not in self._db.kept:
            self._db.kept[name] = make()
        found: T = self._db.kept[name]
        return found

    # Writing

    async def create(
        self, subject: Subject, type_: str, content: Content, *, if_none_exist: str = ""
    ) -> Written:
        """A new record under a server-made id; with `if_none_exist` only where nothing matches."""
        await self.check_allowed(subject, Action.CREATE, type_)
        if if_none_exist:
            async with self.unit(subject) as unit:
                return await unit.create(type_, content, if_none_exist=if_none_exist)
        resource = prepare.read_content(content, type_)
        if self._needs_unit(resource, content):
            async with self.unit(subject) as unit:
                return await unit.create(type_, content)
        write = prepare.write_of(resource, prepare.make_id(resource), is_new=True, by=subject)
        async with self._refusals_noted(subject):
            await files.scan(self.settings, [write])
        audit = audit_of(subject, "C", type_, write.id, outcome=201)
        scope = await self._scope(subject, Action.CREATE, type_)
        return await store_write.write(self._db, scope, audit, write)

    async def update(
        self,
        subject: Subject,
        type_: str,
        id_: str,
        content: Content,
        *,
        if_match: int | None = None,
    ) -> Written:
        """A new version, or a new record under this id; PreconditionError for a stale If-Match."""
        await self.check_allowed(subject, Action.UPDATE, type_, id_)
        resource = prepare.read_content(content, type_)
        check_same_id(resource, id_)
        if self._needs_unit(resource, content):
            async with self.unit(subject) as unit:
                return await unit.update(type_, id_, content, if_match=if_match)
        expected = demanded(self.settings, if_match) if self.context.is_plain else if_match
        write = prepare.write_of(resource, id_, expected_vid=expected, by=subject)
        async with self._refusals_noted(subject):
            await files.scan(self.settings, [write])
        audit = audit_of(subject, "U", type_, id_)
        scope = await self._scope(subject, Action.UPDATE, type_)
        try:
            return await store_write.write(self._db, scope, audit, write)
        except PreconditionError as stale:
            raise mismatch() from stale

    async def update_where(
        self,
        subject: Subject,
        type_: str,
        criteria: str,
        content: Content,
        *,
        if_match: int | None = None,
    ) -> Written:
        """Update the one record that matches, create where none does; 412 for several."""
        async with self.unit(subject) as unit:
            return await unit.update_where(type_, criteria, content, if_match=if_match)

    async def delete(
        self, subject: Subject, type_: str, id_: str, *, if_match: int | None = None
    ) -> Written | None:
        """Delete a record; None where there is none (any more)."""
        await self.check_allowed(subject, Action.DELETE, type_, id_)
        async with self.unit(subject) as unit:
            return await unit.delete(type_, id_, if_match=if_match)

    @asynccontextmanager
    async def unit(
        self, subject: Subject, *, seconds_max: int = 0
    ) -> AsyncIterator[GatewayUnit]:
        """One transaction: commits at the end of the block, is undone by any exception.

        A refusal inside is audited after the rest was undone. While it lasts, readers of the
        change feed wait: more than the usual `seconds_max` is for large Bundles only.
        """
        scope = await self._scope(subject)
        async with (
            self._refusals_noted(subject),
            store_unit.unit(self._db, scope, seconds_max=seconds_max) as unit,
        ):
            yield GatewayUnit(unit, subject, self.settings, self.context)

    @asynccontextmanager
    async def _refusals_noted(self, subject: Subject) -> AsyncIterator[None]:
        """What is refused within, by the decision or for what a file holds, is audited."""
        try:
            yield
        except (RefusedError, files.InfectedError) as refusal:
            await self._note_refusal(subject, refusal)
            raise

    async def _note_refusal(self, subject: Subject, refusal: DmedError) -> None:
        await self.note(subject, "E", refusal.issues[0].diagnostics, outcome=refusal.status)

    async def make_ready(self, subject: Subject, changes: Sequence[Change]) -> None:
        """Do beforehand what writes need no database for; the resources are final then."""
        async with self._refusals_noted(subject):
            await make_ready(changes, self.settings, self.context, subject)

    async def note(
        self, subject: Subject, action: str, detail: str, *, patient: str = "", outcome: int = 200
    ) -> None:
        """The audit row of an act without a record: a sign-in, a print, a refusal."""
        told = detail.replace("\0", "")[:500]
        row = audit_of(subject, action, patient=patient, detail=told, outcome=outcome)
        await store_audit.note(self._db, [row])

    async def note_stranger(self, action: str, detail: str, *, outcome: int) -> None:
        """The audit row of an act of somebody who is not signed in: a refused sign-in."""
        row = AuditRow(request=request_id(), action=action, subject="-", role="", purpose="",
                       outcome=outcome, detail=detail.replace("\0", "")[:500])  # fmt: skip
        await store_audit.note(self._db, [row])

    async def signature_keys(self, subject: Subject) -> dict[str, str]:
        """The public keys by which this system signs: number (kid) -> JWK as JSON."""
        return await keys_of(Told(self._db.hot), subject.user)

    async def explain(self, subject: Subject, action: Action, type_: str, id_: str = "") -> Verdict:
        """Why the subject may or may not do this, in reasons. Audited; no content is told.

        A record that is not there is answered as one without care: the answer proves nothing.
        """
        check_type(type_)
        context = self.context
        if id_:
            scope = await self._scope(subject, action, type_)
            known = await store_care.standing(self._db, scope, type_, id_)
            context = msgspec.structs.replace(
                context, record=facts_of(known), persons=scope.patients)
        verdict = decide(subject, action, type_, context)
        row = audit_of(subject, "E", type_, id_, detail=f"explain-access {action.value}")
        await store_audit.note(self._db, [row])
        return verdict

    async def is_in_care(self, subject: Subject, patient: str) -> bool:
        """Whether a person's clinical records are open to the subject at all, labels apart."""
        scope = await self._scope(subject)
        if scope.patients is not None and patient not in scope.patients:
            return False
        if not scope.guarded:
            return True
        async with self._db.connection() as connection:
            return await store_care.is_cared(connection, scope, patient)

    async def check_allowed(
        self, subject: Subject, action: Action, type_: str, id_: str = ""
    ) -> None:
        """Refuse what the decision refuses (RefusedError, audited); 404 for an unknown type."""
        verdict = decide(subject, action, type_, self.context)
        if verdict.allowed:
            return
        check_type(type_)
        row = audit_of(subject, LETTERS[action], type_, id_, outcome=403)
        await store_audit.note(self._db, [row])
        raise RefusedError(verdict)

    # Idempotency of acts with transactions of their own

    async def reserve(self, subject: Subject, key: str, digest: bytes) -> kept.Kept | None:
        """Claim a key before an act that commits by itself; the kept answer of an earlier one."""
        return await kept.recall(Told(self._db.hot), subject.user, key, digest)

    async def settle(self, subject: Subject, key: str, answer: kept.Kept) -> None:
        """Keep the answer of the act under its claimed key."""
        await kept.remember(Told(self._db.hot), subject.user, key, answer)

    async def release(self, subject: Subject, key: str) -> None:
        """Give a claimed key free after the act failed."""
        await kept.release(Told(self._db.hot), subject.user, key)

    def _needs_unit(self, resource: Any, content: Content) -> bool:
        """Whether references must be looked up in the write's own transaction."""
        if self.settings.reference_integrity:
            return True
        if isinstance(content, bytes) and b"?" not in content and b"\\u003" not in content:
            return False  # No text of it can be a conditional reference; a walk costs more.
        return any("?" in text for _, _, text in references.texts(resource))

    def known_scope(self, subject: Subject) -> Scope | None:
        """The Scope where nothing needs to be asked of the database."""
        if is_citizen(subject):
            seen = kept_persons(self._db, subject)
            return None if seen is None else self._scope_of_persons(subject, seen)
        if not needs_institutions(subject, self.context):
            return scope_of(subject, self.context)
        if not subject.organisation:
            return scope_of(subject, self.context)
        tree = store_care.kept_tree(self._db, subject.organisation)
        return None if tree is None else scope_of(subject, self.context, tree)

    async def _scope(
        self, subject: Subject, action: Action = Action.READ, type_: str = ""
    ) -> Scope:
        """What the subject may reach in a statement about this type, also through an app."""
        scope = self.known_scope(subject)
        if scope is None and is_citizen(subject):
            seen = await persons(self._db, subject)
            scope = self._scope_of_persons(subject, seen)
        elif scope is None:
            tree = await store_care.tree(self._db, subject.organisation)
            scope = scope_of(subject, self.context, tree)
        if scope.patients is not None:
            scope = beside(scope, type_)
        return app_scope(scope, subject, action, type_)

    def _scope_of_persons(self, subject: Subject, seen: tuple[str, ...]) -> Scope:
        return msgspec.structs.replace(scope_of(subject, self.context), patients=seen)

    async def persons(self, subject: Subject) -> tuple[str, ...]:
        """The Patient ids of a citizen: himself first, then children and wards; () for others."""
        return await persons(self._db, subject) if is_citizen(subject) else ()

    async def _app_read(self, subject: Subject, scope: Scope, type_: str, id_: str) -> Scope:
        """The Scope of an app's read; NotFoundError where its right is restricted to others."""
        scope = app_scope(scope, subject, Action.READ, type_)
        pairs = smart.restriction(subject.scopes, "read", type_)
        if pairs:
            asked = query.parse(type_, [("_id", id_), *pairs], settings=self.settings, strict=True)
            audit = audit_of(subject, "E", type_, query=asked_text(pairs))
            page = await store_search.search(self._db, scope, audit, asked)
            if not page.hits:
                raise NotFoundError(f"there is no {type_}/{id_}")
        return scope

    def _check_unrestricted(self, subject: Subject, type_: str) -> None:
        """Refuse what a right restricted by a search cannot judge: older versions, many types."""
        if smart.restriction(subject.scopes, "read", type_):
            raise ForbiddenError(f"The app sees certain {type_} only, and these by its own search")
