"""Several acts as one: everything inside `async with gateway.unit(subject)` commits or nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from dmed.fhir import codec, params, query
from dmed.fhir.persons import replaced_by
from dmed.fhir.query_model import Query
from dmed.kit.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    PreconditionError,
    UnprocessableError,
)
from dmed.kit.ids import bucket_in, bucket_of, new_id
from dmed.kit.settings import Settings
from dmed.store import links
from dmed.store.model import AuditRow, Relation, SearchPage, Stored, Write, Written
from dmed.store.unit import Unit
from dmed.trust.decide import Action, Context, decide
from dmed.trust.gateway import cards, files, prepare, seen
from dmed.trust.gateway.common import (
    RefusedError,
    asked_text,
    audit_of,
    bodies,
    check_type,
    decoded,
    mismatch,
    only_matches,
    pairs_of,
    told_ids,
)
from dmed.trust.gateway.kept import Kept, recall, remember
from dmed.trust.model import Subject
from dmed.trust.policy.care import own_principals
from dmed.trust.policy.sensitivity import ALL

Content = bytes | dict[str, Any]
_TURN = 32
DELETIONS_MAX = 500
"""Most records that one conditional delete removes."""


class Change(msgspec.Struct, kw_only=True):
    """One write of many: kind "create" (a new server-made id), "update" or "delete"."""

    kind: str
    type: str
    id: str
    resource: Any = None
    """The validated struct; None for a delete."""
    if_match: int | None = None
    write: Write | None = None
    """Where it was made ready before its transaction (`make_ready`)."""


class GatewayUnit:
    """One transaction of one subject. Its rows for modules' own tables go through `execute` etc."""

    def __init__(self, unit: Unit, subject: Subject, settings: Settings, context: Context) -> None:
        self._unit = unit
        self._subject = subject
        self._settings = settings
        self._context = context

    # Records

    async def get(self, type_: str, id_: str, *, lock: bool = False) -> dict[str, Any] | None:
        """A record as dict, or None where there is none (or it was deleted)."""
        stored = await self.stored(type_, id_, lock=lock)
        return None if stored is None else decoded(stored.body)

    async def stored(self, type_: str, id_: str, *, lock: bool = False) -> Stored | None:
        """A record as it lies in the store, or None; `lock` holds others off until the end."""
        self.check(Action.READ, type_)
        audit = audit_of(self._subject, "R", type_, id_)
        found = await self._unit.read(audit, type_, id_, lock=lock)
        if found is None or found.deleted:
            return None
        return seen.of_record(self._subject, self._context, found)

    async def get_many(
        self, asked: Sequence[tuple[str, str]], *, lock: bool = False
    ) -> list[dict[str, Any] | None]:
        """As `get` of each (type, id), in one statement and in the order asked."""
        for type_, _ in asked:
            self.check(Action.READ, type_)
        found = await self._unit.read_many(audit_of(self._subject, "R"), asked, lock=lock)
        return [
            None if each is None or each.deleted
            else decoded(seen.of_record(self._subject, self._context, each).body)
            for each in found]

    @staticmethod
    def id_beside(patient: str) -> str:
        """A server-made id of a record about this Patient, before it is written: so records that
        refer to each other go into one `create_many`.
        """
        own = bucket_in(patient)
        return new_id(bucket_of(f"Patient/{patient}") if own is None else own)

    async def create_many(self, contents: Sequence[tuple[str, dict[str, Any]]]) -> list[Written]:
        """As `create` of each (type, content with its server-made id), in one statement."""
        return await self._write_many("C", [
            (type_, content, None) for type_, content in contents])

    async def update_many(
        self, contents: Sequence[tuple[str, dict[str, Any], int]]
    ) -> list[Written]:
        """As `update` of each (type, content, version that it must have), in one statement."""
        return await self._write_many("U", contents)

    async def _write_many(
        self, letter: str, contents: Sequence[tuple[str, dict[str, Any], int | None]]
    ) -> list[Written]:
        is_new = letter == "C"
        resources = []
        for type_, content, _ in contents:
            self.check(Action.CREATE if is_new else Action.UPDATE, type_)
            prepare.check_id(str(content["id"]))
            resources.append(prepare.read_content(content, type_))
        await self.resolve(resources, [f"{one.fhir_type}/{one.id}" for one in resources])
        writes = [
            prepare.write_of(one, one.id, is_new=is_new, expected_vid=vid, by=self._subject)
            for one, (_, _, vid) in zip(resources, contents, strict=True)]
        await files.scan(self._settings, writes)
        audit = audit_of(self._subject, letter, outcome=201 if is_new else 200)
        try:
            return await self._unit.write_many(audit, writes)
        except PreconditionError as stale:
            if is_new:
                raise ConflictError(issues=stale.issues) from stale
            raise mismatch() from stale

    async def create(
        self, type_: str, content: Content, *, id_: str = "", if_none_exist: str = ""
    ) -> Written:
        """A new record; with `id_` under that id (ConflictError where it exists).

        With `if_none_exist` the one record that matches is given back unchanged instead;
        PreconditionError where several do.
        """
        self.check(Action.CREATE, type_)
        resource = prepare.read_content(content, type_)
        if if_none_exist:
            found = await self.match(type_, if_none_exist)
            if found:
                return unchanged(found, type_)
        await self.resolve([resource])
        if id_:
            prepare.check_id(id_)
        record_id = id_ or prepare.make_id(resource)
        write = prepare.write_of(resource, record_id, is_new=True, by=self._subject)
        await files.scan(self._settings, [write])
        try:
            return await self._unit.write(audit_of(self._subject, "C", outcome=201), write)
        except PreconditionError as exists:
            raise ConflictError(issues=exists.issues) from exists

    async def update(
        self, type_: str, id_: str, content: Content, *, if_match: int | None = None
    ) -> Written:
        """A new version; makes the record where there is none, revives a deleted one.

        PreconditionError ("Version is mismatch") where `if_match` is not the current version.
        """
        self.check(Action.UPDATE, type_)
        resource = prepare.read_content(content, type_)
        check_same_id(resource, id_)
        await self.resolve([resource])
        expected = if_match
        if self._context.is_plain:
            expected = demanded(self._settings, if_match)
        write = prepare.write_of(resource, id_, expected_vid=expected, by=self._subject)
        await files.scan(self._settings, [write])
        try:
            return await self._unit.write(audit_of(self._subject, "U"), write)
        except PreconditionError as stale:
            raise mismatch() from stale

    async def current(self, type_: str, id_: str, *, if_match: int | None = None) -> Stored:
        """The current version of a record that will be changed, held until the end of the unit.

        NotFoundError or GoneError where there is none, PreconditionError for a stale If-Match.
        """
        self.check(Action.UPDATE, type_)
        audit = audit_of(self._subject, "R", type_, id_)
        found = await self._unit.read(audit, type_, id_, lock=True)
        if found is None or found.deleted:
            raise await self._unit.absent(audit_of(self._subject, "U", outcome=404), type_, id_)
        if self._context.is_plain:
            if_match = demanded(self._settings, if_match)
        if if_match is not None and if_match != found.vid:
            raise mismatch()
        return found

    async def match_one(self, type_: str, criteria: str) -> str:
        """The id of the one record that criteria match, under their lock.

        NotFoundError for none, PreconditionError for several.
        """
        found = await self.match(type_, criteria)
        if not found:
            raise NotFoundError(f"No {type_} matches the criteria")
        if len(found) > 1:
            raise PreconditionError(f"The criteria match several: {told_ids(found)}")
        return found[0].id

    async def update_where(
        self, type_: str, criteria: str, content: Content, *, if_match: int | None = None
    ) -> Written:
        """Update the one match; create where there is none; PreconditionError for several.

        https://hl7.org/fhir/R5/http.html#cond-update
        """
        self.check(Action.UPDATE, type_)
        resource = prepare.read_content(content, type_)
        found = await self.match(type_, criteria)
        if len(found) > 1:
            raise PreconditionError(f"The criteria match several: {told_ids(found)}")
        given = "" if resource.id is msgspec.UNSET else resource.id
        if found:
            if given and given != found[0].id:
                raise InvalidError(
                    f"The criteria match {type_}/{found[0].id}, the body says {given}",
                    f"{type_}.id",
                )
            resource.id = found[0].id
            return await self.update(type_, found[0].id, codec.encode(resource), if_match=if_match)
        if if_match is not None:
            raise mismatch()
        return await self.create(type_, codec.encode(resource), id_=given)

    async def delete(self, type_: str, id_: str, *, if_match: int | None = None) -> Written | None:
        """Delete a record; None where there is none any more. NotFoundError if there never was."""
        self.check(Action.DELETE, type_)
        write = await self._deletion(type_, id_, if_match)
        if write is None:
            return None
        return await self._unit.write(audit_of(self._subject, "D"), write)

    async def _deletion(self, type_: str, id_: str, if_match: int | None) -> Write | None:
        audit = audit_of(self._subject, "R", type_, id_)
        found = await self._unit.read(audit, type_, id_, lock=True)
        if found is None or found.deleted:
            if if_match is not None:
                raise mismatch()
            return None
        if if_match is not None and if_match != found.vid:
            raise mismatch()
        patients = params.patients(codec.decode(found.body, type_))
        return prepare.deletion_of(
            type_, id_, bucket=found.bucket, patients=patients, vid_now=found.vid
        )

    async def write_all(self, changes: Sequence[Change]) -> list[Written | None]:
        """Many writes at once, in the given order; None for a delete of what is not there.

        The resources are validated and their references resolved already. Any failure undoes all.
        """
        deletions = [change for change in changes if change.kind == "delete"]
        # One order for all transactions: two that delete the same records queue, not deadlock.
        deletions.sort(key=lambda change: (change.type, change.id))
        for change in changes:
            self.check(Action(change.kind), change.type)
        written: dict[tuple[str, str], Written] = {}
        for change in deletions:
            write = await self._deletion(change.type, change.id, change.if_match)
            if write is not None:
                done = await self._unit.write(audit_of(self._subject, "D"), write)
                written[change.type, change.id] = done
        for kind, letter, outcome in (("create", "C", 201), ("update", "U", 200)):
            chosen = [change for change in changes if change.kind == kind]
            await make_ready(chosen, self._settings, self._context, self._subject)
            writes = [change.write for change in chosen if change.write is not None]
            if writes:
                try:
                    all_done = await self._unit.write_many(
                        audit_of(self._subject, letter, outcome=outcome), writes
                    )
                except PreconditionError as stale:
                    raise (mismatch() if kind == "update" else stale) from stale
                written.update({(done.type, done.id): done for done in all_done})
        return [written.get((change.type, change.id)) for change in changes]

    # Search

    async def find(self, type_: str, query_string: str) -> list[dict[str, Any]]:
        """The records that a search finds, as dicts; sees what this unit wrote before."""
        _, page = await self.search(type_, pairs_of(query_string), strict=True)
        return bodies(page)

    async def search(
        self, type_: str, pairs: Sequence[tuple[str, str]], *, strict: bool = False
    ) -> tuple[Query, SearchPage]:
        """A search inside this transaction."""
        self.check(Action.SEARCH, type_)
        asked = query.parse(type_, list(pairs), settings=self._settings, strict=strict)
        seen.check_query(self._subject, self._context, asked)
        wide = await self._followed(asked)
        audit = audit_of(self._subject, "E", type_, query=asked_text(pairs))
        page = await self._unit.search(audit, wide)
        return asked, seen.of_page(self._subject, self._context, page)

    async def _followed(self, asked: Query) -> Query:
        """The search in which a person's one card stands for all of them."""
        return (await cards.followed(self._unit.db, [asked], self._unit.fetch))[0]

    async def deletable(self, type_: str, criteria: str) -> list[Stored]:
        """What a conditional delete removes, by id, under the lock of its criteria.

        `_count` among the criteria says how many there may be (none said: one); with more of them
        nothing may be deleted: PreconditionError. https://hl7.org/fhir/R5/http.html#cdelete
        """
        self.check(Action.DELETE, type_)
        most = deletions_most(criteria, self._settings)
        # A card is never deleted because one that was merged into it matches.
        found = await self._matching(type_, criteria, most=most + 1)
        if len(found) > most:
            raise PreconditionError(
                f"The criteria match more than {most} {type_}; none was deleted. "
                f"_count says how many there may be, at most {DELETIONS_MAX}"
            )
        return sorted(found, key=lambda stored: stored.id)

    async def match(
        self, type_: str, criteria: str, *, lock: bool = True, most: int = 2
    ) -> list[Stored]:
        """What conditional criteria match, at most `most`, under a lock on the criteria.

        Nobody else decides on the same criteria until this unit ends, so that parallel
        conditional creates make one record. A mere reference needs no lock. Where cards were
        merged, one card stands for all of its person: a reference to it finds what refers to any,
        and of the cards that match the one is given that stands for them.
        """
        if type_ != "Patient" or not await cards.are_there(self._unit.db, self._unit.fetch):
            return await self._matching(type_, criteria, lock=lock, most=most)
        found = await self._matching(type_, criteria, lock=lock, most=cards.MERGED_MAX)
        people: dict[str, Stored] = {}
        for one in found:
            stands = await self._standing(one)
            people.setdefault(stands.id, stands)
        return list(people.values())[:most]

    async def _matching(
        self, type_: str, criteria: str, *, lock: bool = True, most: int
    ) -> list[Stored]:
        self.check(Action.SEARCH, type_)
        pairs = [pair for pair in pairs_of(criteria) if pair[0] not in {"_count", "_sort"}]
        if not pairs:
            raise PreconditionError("Conditional criteria are empty: they would match everything")
        asked = query.parse(
            type_, [*pairs, ("_count", str(most)), ("_total", "none")], settings=self._settings,
            strict=True,
        )  # fmt: skip
        seen.check_query(self._subject, self._context, asked)
        wide = await self._followed(asked)
        if lock:
            # By whichever of his cards a person is named, it is one question.
            await self.lock(criteria_key(type_, pairs if wide == asked else [
                ("", repr(cards.in_order(one))) for one in wide.criteria]))
        audit = audit_of(self._subject, "E", type_, query=asked_text(pairs))
        return only_matches(await self._unit.search(audit, wide))

    async def _standing(self, card: Stored) -> Stored:
        """The card that stands for this one: itself where it was not merged."""
        passed = {card.id}
        while (into := replaced_by(decoded(card.body))) and into not in passed:
            audit = audit_of(self._subject, "R", "Patient", into)
            further = await self._unit.read(audit, "Patient", into)
            if further is None or further.deleted:
                break  # Not to be seen by this subject, or deleted: what matched is what there is.
            passed.add(into)
            card = further
        return card

    async def lock(self, text: str) -> None:
        """Hold off every other unit that locks the same text, until this one ends."""
        await self._unit.lock_criteria(text)

    async def resolve(self, resources: Sequence[Any], known: Sequence[str] = ()) -> None:
        """Conditional references become literal; with the integrity setting on, all must exist.

        `known` are "Type/id" texts that this unit is about to write.
        """
        from dmed.trust.gateway import references

        await references.make_literal(self, resources)
        if self._settings.reference_integrity:
            missing = await references.missing(self._unit, self._subject, resources, set(known))
            if missing:
                raise UnprocessableError(issues=missing)

    def check(self, action: Action, type_: str) -> None:
        """Refuse what the decision refuses; the refusal is audited when the unit has ended."""
        check_type(type_)
        verdict = decide(self._subject, action, type_, self._context)
        if not verdict.allowed:
            raise RefusedError(verdict)

    async def break_glass(self, patient: str, until: datetime) -> None:
        """Open a person's records to the subject himself, labels and refusals notwithstanding.

        The caller has a reason, tells the person and puts it up for review (modules/glass).
        """
        principal = own_principals(self._subject)[0]
        await self._unit.grant(
            Relation(patient, principal, "glass", until, ALL, is_bound=False))

    async def regroup(self, groups: Sequence[Sequence[str]]) -> None:
        """Each group of Patient ids is from now on one person's: care with one of the cards opens
        the records of all. Part of a merge or its undoing, whose writes say who did it.
        """
        self.check(Action.UPDATE, "Patient")
        await self._unit.regroup(groups)

    async def cards_of(self, patient: str) -> list[str]:
        """The card and the further ones of its person: for tables that name a Patient."""
        found = await links.others_of(self._unit.fetch, [patient])
        return [patient, *found.get(patient, ())]

    async def note(self, rows: Sequence[AuditRow]) -> None:
        """Audit rows of what was read inside beside `get` and `find`."""
        await self._unit.note(rows)

    # Idempotency

    async def recall(self, key: str, digest: bytes) -> Kept | None:
        """The first answer to this idempotency key, or None for a key that is new now.

        UnprocessableError where the key was used for another request.
        """
        return await recall(self._unit, self._subject.user, key, digest)

    async def remember(self, key: str, kept: Kept) -> None:
        """Keep the answer to a recalled key; it commits with this unit."""
        await remember(self._unit, self._subject.user, key, kept)

    # Modules' own tables

    async def execute(self, sql: str, *args: Any) -> str:
        """Run a statement on a module's own table; its status."""
        return str(await self._unit.execute(sql, *args))

    async def fetch(self, sql: str, *args: Any) -> list[Any]:
        """All rows of a statement."""
        return list(await self._unit.fetch(sql, *args))

    async def fetchrow(self, sql: str, *args: Any) -> Any:
        """The first row, or None."""
        return await self._unit.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """The first value of the first row, or None."""
        return await self._unit.fetchval(sql, *args)


async def make_ready(
    changes: Sequence[Change], settings: Settings, context: Context, subject: Subject
) -> None:
    """Stamp, encode and index what is created or updated: the slow part that needs no database."""
    for number, change in enumerate(changes):
        if number % _TURN == _TURN - 1:
            await asyncio.sleep(0)  # Other requests of the worker get their turn.
        if change.write is not None or change.kind == "delete":
            continue
        is_new = change.kind == "create"
        expected = None if is_new else change.if_match
        if not is_new and context.is_plain:
            expected = demanded(settings, expected)
        change.write = prepare.write_of(
            change.resource, change.id, is_new=is_new, expected_vid=expected, by=subject
        )
        await files.scan(settings, [change.write])


def check_same_id(resource: Any, id_: str) -> None:
    """Refuse an update whose body carries another id than the address, or none."""
    prepare.check_id(id_)
    if resource.id is msgspec.UNSET:
        raise InvalidError(f"The body must carry the id {id_}", f"{resource.fhir_type}.id")
    if resource.id != id_:
        raise InvalidError(
            f"The body carries the id {resource.id}, the address {id_}", f"{resource.fhir_type}.id"
        )


def demanded(settings: Settings, if_match: int | None) -> int | None:
    """The version a plain update must meet: without If-Match, where it is required, none at all."""
    return 0 if if_match is None and settings.if_match_required else if_match


def deletions_most(criteria: str, settings: Settings) -> int:
    """How many records a conditional delete may delete: its `_count`, or one."""
    given = dict(pairs_of(criteria)).get("_count", "1")
    most = min(DELETIONS_MAX, settings.count_max - 1)
    if not (given.isascii() and given.isdecimal() and 1 <= int(given) <= most):
        raise InvalidError(f"_count={given[:20]!r}: a delete takes 1 to {most}", "_count")
    return int(given)


def unchanged(found: Sequence[Stored], type_: str) -> Written:
    """The outcome of a conditional create that found something; PreconditionError for several."""
    if len(found) > 1:
        raise PreconditionError(f"If-None-Exist matches several {type_}: {told_ids(found)}")
    one = found[0]
    return Written(
        one.type, one.id, one.vid, one.updated, created=False, body=one.body, unchanged=True
    )


def criteria_key(type_: str, pairs: Sequence[tuple[str, str]]) -> str:
    """The text that stands for criteria in any order, short enough for a key."""
    text = repr((type_, sorted(pairs)))
    return f"{type_}:{hashlib.sha256(text.encode()).hexdigest()}"


__all__ = [
    "Change",
    "GatewayUnit",
    "NotFoundError",
    "check_same_id",
    "criteria_key",
    "make_ready",
    "unchanged",
]
