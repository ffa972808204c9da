"""The life of a page session: from the password over second factor and post to open, locked, ended.

Each step hands out a new cookie, so that one seen before the step opens nothing after it.
Federation to OneID would begin a session here as `begin` does, at the stage that comes next;
pairing of a till's device would be a further condition of `Stage.OPEN`.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from enum import StrEnum
from typing import Any

import msgspec

from dmed.kit.clock import now
from dmed.kit.errors import ForbiddenError, NotFoundError, UnauthorizedError
from dmed.kit.ids import secret
from dmed.kit.settings import Settings
from dmed.trust import people_tables, strength, tables
from dmed.trust.factors import Factors
from dmed.trust.model import Role, Subject
from dmed.trust.oauth import tables as oauth_tables
from dmed.trust.standing import Register

_AGENT_MAX = 200


class Stage(StrEnum):
    """How far a session has come; only an open one is anybody's."""

    FACTOR = "factor"
    """A code of the second factor is asked for."""
    ENROL = "enrol"
    """The role demands a second factor and there is none yet."""
    PASSWORD = "password"  # noqa: S105  # A word of the way in.
    """The password was given by the administrator: an own one is to be chosen."""
    POST = "post"
    """One of several posts is to be chosen."""
    OPEN = "open"
    LOCKED = "locked"
    """Somebody else works at this computer; a PIN or the password opens it again."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a browser tells at sign-in."""

    agent: str = ""
    is_shared: bool = False
    """Others use this computer: the session ends idle sooner."""
    place: str = ""
    """Where the person wants to go."""


NOTHING_TOLD = About()


class Session(msgspec.Struct, frozen=True):
    """A live page session: who, and the token that its forms must carry."""

    subject: Subject
    csrf: str
    stage: Stage = Stage.OPEN
    place: str = ""
    device: str = ""
    is_demo: bool = False


class SignedIn(msgspec.Struct, frozen=True):
    """A session that came a step on: the cookie's value is known to the browser alone."""

    cookie: str
    csrf: str
    subject: Subject
    device: str = ""
    """Cookie by which this browser is known at the next sign-in."""
    stage: Stage = Stage.OPEN
    place: str = ""
    """Where this person wanted to go, or was when the session was locked."""


def digest_of(cookie: str) -> bytes:
    """What the database keeps of a cookie or another random secret."""
    return hashlib.sha256(cookie.encode()).digest()


def number_of(cookie: str) -> str:
    """The name of a session in lists and audit rows; it gives nothing away of the cookie."""
    return digest_of(cookie).hex()[:16]


def subject_from(row: Any, *, language: str = "", session: str = "") -> Subject:
    """The subject of an account's row in its post."""
    role = Role(row["role"])
    return Subject(
        user=row["name"],
        role=role,
        name=row["display"],
        practitioner=row["practitioner"],
        practitioner_role=row["practitioner_role"],
        organisation=row["organisation"],
        organisation_name=row["organisation_name"],
        post=row["post"],
        patient=row["patient"] if role is Role.CITIZEN else "",
        purpose="PATRQT" if role is Role.CITIZEN else "TREAT",
        language=language or row["language"],
        session=session,
    )


async def standing_of(register: Register, subject: Subject) -> Subject | None:
    """The subject at the institution that the register names for the post; None without right."""
    found = await register.standing(
        subject.user, subject.role, subject.practitioner, subject.practitioner_role
    )
    if found.refusal:
        return None
    if not found.organisation or found.organisation == subject.organisation:
        return subject
    return msgspec.structs.replace(
        subject, organisation=found.organisation, organisation_name=found.organisation_name
    )


def next_stage(
    after: Stage | None, *, has_factor: bool, is_required: bool, posts: int, is_first: bool = False
) -> Stage:
    """The stage after the password (None), the second factor, the enrolment or the choice of an
    own password, which whoever has a first one (`is_first`) must make. Pure.
    """
    if after is None and has_factor:
        return Stage.FACTOR
    if after is None and is_required:
        return Stage.ENROL
    if is_first and after is not Stage.PASSWORD:
        return Stage.PASSWORD
    return Stage.POST if posts > 1 else Stage.OPEN


def demanding_roles(settings: Settings) -> frozenset[Role]:
    """The roles that sign in with a second factor only; ValueError for a word that is none."""
    words = settings.second_factor_roles.replace(",", " ").split()
    return frozenset(Role(word) for word in words)


class Sessions:
    """The page sessions of one installation."""

    def __init__(
        self, connection: tables.Connection, settings: Settings, register: Register,
        factors: Factors,
    ) -> None:  # fmt: skip  # One signature.
        self._connection = connection
        self._settings = settings
        self._register = register
        self._factors = factors
        self._demanding = demanding_roles(settings)

    async def begin(self, row: Any, device: str, about: About) -> SignedIn:
        """A session after a right password (the account's row), at its first stage."""
        user = row["name"]
        posts = await self.posts(user)
        if not posts:
            raise ForbiddenError("The staff register gives you no post any more")
        stage = next_stage(
            None,
            has_factor=await self._factors.is_set(user),
            is_required=any(self._demands(row, each.role) for each in posts),
            posts=len(posts),
            is_first=row["first_until"] is not None,
        )
        cookie, csrf = secret(), secret()
        ends = now() + timedelta(hours=self._settings.session_max_hours)
        digest = digest_of(cookie)
        await tables.open_session(
            self._connection, digest, user, csrf=csrf, language=row["language"], ends=ends
        )
        if not row["demo"]:  # Whoever tries a demo shares its account with everybody.
            await people_tables.end_oldest_sessions(
                self._connection, user, self._settings.sessions_max)
        minutes = self._settings.session_idle_minutes
        if about.is_shared:
            minutes = min(minutes, self._settings.session_shared_idle_minutes)
        await people_tables.describe_session(
            self._connection, digest, stage=stage.value, place=about.place[:2000], device=device,
            agent=about.agent[:_AGENT_MAX], idle_minutes=minutes,
        )  # fmt: skip  # One call.
        subject = posts[0]
        if posts[0].practitioner_role != row["practitioner_role"] and stage == Stage.OPEN:
            # The account's own post has ended; the one that is left is chosen.
            return await self._move(cookie, posts[0], stage, about.place)
        subject = msgspec.structs.replace(subject, session=number_of(cookie))
        return SignedIn(cookie, csrf, subject, stage=stage, place=about.place)

    def check_strength(self, row: Any, acr: str) -> None:
        """UnauthorizedError for an app's token of a weaker sign-in than its role demands."""
        strength.check(acr, is_demanded=self._demands(row, Role(row["role"])))

    def _demands(self, row: Any, role: Role) -> bool:
        return not row["demo"] and role in self._demanding

    async def find(self, cookie: str) -> Session | None:
        """The live session of a cookie at whatever stage, with standing, or None."""
        digest = digest_of(cookie)
        minutes = self._settings.session_idle_minutes
        row = await people_tables.session(self._connection, digest, minutes)
        if row is None:
            return None
        subject = subject_from(row, language=row["chosen"], session=number_of(cookie))
        stage = Stage(row["stage"])
        if stage == Stage.OPEN:
            stands = await standing_of(self._register, subject)
            if stands is None:
                return None
            subject = stands
            if row["stale"]:
                await tables.touch_session(self._connection, digest)
        return Session(subject, row["csrf"], stage, row["place"], row["device"], row["demo"])

    async def at_stage(self, cookie: str, *stages: Stage) -> Session:
        """The session of a cookie at one of these stages; UnauthorizedError otherwise."""
        found = await self.find(cookie) if cookie else None
        if found is None or found.stage not in stages:
            raise UnauthorizedError("Sign in first")
        return found

    async def posts(self, user: str) -> list[Subject]:
        """The posts of a person in which the register lets them work, their first one first."""
        found = []
        for row in await people_tables.posts(self._connection, user):
            stands = await standing_of(self._register, subject_from(row))
            if stands is not None:
                found.append(stands)
        return found

    async def advance(self, cookie: str, pending: Session, after: Stage) -> SignedIn:
        """The session goes on after a stage was passed."""
        posts = await self.posts(pending.subject.user)
        if not posts:
            raise ForbiddenError("The staff register gives you no post any more")
        row = await tables.account(self._connection, pending.subject.user)
        stage = next_stage(
            after, has_factor=True, is_required=True, posts=len(posts),
            is_first=row is not None and row["first_until"] is not None,
        )  # fmt: skip  # One call.
        return await self._move(cookie, posts[0], stage, pending.place)

    async def choose_post(self, cookie: str, practitioner_role: str) -> SignedIn:
        """The session works in one of its person's posts from now on.

        NotFoundError for a post that is not theirs or has ended.
        """
        pending = await self.at_stage(cookie, Stage.POST, Stage.OPEN)
        for each in await self.posts(pending.subject.user):
            if each.practitioner_role == practitioner_role:
                place = pending.place if pending.stage == Stage.POST else ""
                return await self._move(cookie, each, Stage.OPEN, place)
        raise NotFoundError("There is no such post of yours")

    async def _move(self, cookie: str, subject: Subject, stage: Stage, place: str) -> SignedIn:
        fresh, csrf = secret(), secret()
        old, new = digest_of(cookie), digest_of(fresh)
        if not await people_tables.advance_session(
            self._connection, old, new, csrf=csrf, stage=stage.value,
            post=subject.practitioner_role,
        ):  # fmt: skip  # One call.
            raise UnauthorizedError("Sign in first")
        await oauth_tables.move_session(self._connection, old, new)
        subject = msgspec.structs.replace(subject, session=number_of(fresh))
        return SignedIn(fresh, csrf, subject, stage=stage, place=place)

    # A counter that several people share

    async def lock(self, cookie: str, place: str) -> None:
        """Lock an open session; one of a browser that is not known ends instead."""
        if not await people_tables.lock_session(self._connection, digest_of(cookie), place):
            await tables.close_session(self._connection, digest_of(cookie))

    async def locked_of(self, device: str) -> list[dict[str, str]]:
        """Who has a locked session in a browser: number, name, post."""
        return [
            {"number": row["number"], "name": row["display"], "post": row["post"]}
            for row in await people_tables.locked_sessions(self._connection, device)
        ]

    async def locked(self, device: str, number: str) -> Any:
        """The row of a locked session of a browser; UnauthorizedError where there is none."""
        rows = await people_tables.locked_sessions(self._connection, device) if device else []
        for row in rows:
            if row["number"] == number:
                return row
        raise UnauthorizedError("The session has ended: sign in")

    async def reopen(self, row: Any) -> SignedIn:
        """A locked session goes on where it was; UnauthorizedError where its post has ended."""
        for each in await self.posts(row["account"]):
            if row["chosen"] in {"", each.practitioner_role}:
                fresh, csrf = secret(), secret()
                await people_tables.advance_session(
                    self._connection, row["digest"], digest_of(fresh), csrf=csrf,
                    stage=Stage.OPEN.value, post=row["chosen"],
                )  # fmt: skip  # One call.
                await oauth_tables.move_session(
                    self._connection, row["digest"], digest_of(fresh)
                )
                subject = msgspec.structs.replace(each, session=number_of(fresh))
                return SignedIn(fresh, csrf, subject, place=row["place"])
        raise UnauthorizedError("The account or the post has ended")

    # Lists

    async def of(self, user: str) -> list[dict[str, Any]]:
        """The live sessions of a person, newest use first."""
        minutes = self._settings.session_idle_minutes
        return [
            dict(row) for row in await people_tables.sessions_of(self._connection, user, minutes)
        ]

    async def end(self, user: str, number: str) -> None:
        """End a session of a person; NotFoundError where there is none."""
        if not await people_tables.end_session(self._connection, user, number):
            raise NotFoundError("There is no such session")

    async def end_others(self, user: str, cookie: str) -> None:
        """End all sessions of a person but the one of this cookie ("" for none)."""
        await people_tables.end_sessions(self._connection, user, digest_of(cookie))
