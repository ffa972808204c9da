"""From consent to code, from code to tokens, and on: https://www.rfc-editor.org/rfc/rfc6749

Refresh tokens rotate; one that comes twice ends all that stems from the same consent, and so does
a code that comes twice (RFC 9700, 2.2.2 and 4.5).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from dmed.kit.clock import now
from dmed.kit.errors import DmedError, UnauthorizedError
from dmed.kit.ids import secret
from dmed.kit.settings import Settings
from dmed.trust import people_tables, strength, tokens
from dmed.trust import tables as accounts
from dmed.trust.identity import Identity
from dmed.trust.keys import Keys
from dmed.trust.model import Role, Subject
from dmed.trust.oauth import requests, tables
from dmed.trust.oauth.addresses import Addresses
from dmed.trust.oauth.clients import Client, Clients
from dmed.trust.oauth.errors import OAuthError
from dmed.trust.oauth.remembered import Remembered
from dmed.trust.oauth.requests import Wanted
from dmed.trust.oauth.scopes import Scopes, narrowed, parse
from dmed.trust.sessions import digest_of

REQUEST_S = 900
CODE_S = 60
LAUNCH_S = 300
SYSTEM_TOKEN_S = 300
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request under way, as the consent screen sees it."""

    client: Client
    scopes: Scopes
    redirect_uri: str
    state: str
    nonce: str
    challenge: str
    launch: bytes | None
    patient: str
    encounter: str

    @property
    def waits_for_patient(self) -> bool:
        """Whether a person must be chosen before it can be allowed."""
        return requests.needs_patient(self.scopes) and not self.patient


class Grants:
    """The grants of one installation."""

    def __init__(
        self, connection: accounts.Connection, settings: Settings, keys: Keys, identity: Identity
    ) -> None:
        self._connection = accounts.Told(connection)
        self._settings = settings
        self._keys = keys
        self._identity = identity
        self.remembered = Remembered(self._connection)

    # Before the consent

    async def open_launch(self, subject: Subject, client: Client, patient: str,
                          encounter: str = "") -> str:  # fmt: skip  # One signature.
        """A launch token: this app may be opened once by this person for this patient."""
        token = secret()
        await tables.save_launch(
            self._connection,
            (digest_of(token), client.id, subject.user, patient, encounter, _in(LAUNCH_S)),
        )
        return token

    async def ask(self, subject: Subject, session: str, wanted: Wanted) -> str:
        """Keep a request for its person's answer; its number. OAuthError for a launch that is
        over, of another app or another person.

        `session` is the cookie's value: the answer must come from the same session.
        """
        patient, encounter, launch = "", "", None
        if wanted.launch:
            launch = digest_of(wanted.launch)
            row = await tables.launch(self._connection, launch, wanted.client, subject.user)
            if row is None:
                raise OAuthError("invalid_request", "the launch has ended; open the app again")
            patient, encounter = row["patient"], row["encounter"]
        number = secret(128)
        await tables.save_request(
            self._connection,
            (digest_of(number), digest_of(session), wanted.client, wanted.redirect_uri,
             wanted.state, wanted.nonce, wanted.challenge, wanted.scopes.text(), launch,
             patient, encounter, _in(REQUEST_S)),
        )  # fmt: skip  # A row.
        return number

    async def asked(self, number: str, session: str) -> Asked:
        """A request under way of this session; UnauthorizedError where it is over."""
        row = await tables.request(self._connection, digest_of(number), digest_of(session))
        client = await self._client(row["client"]) if row is not None else None
        if row is None or client is None:
            raise UnauthorizedError("The request of the app has ended: open the app again")
        scopes = msgspec.structs.replace(parse(row["scopes"]), client=client.id)
        return Asked(
            client=client, scopes=scopes, redirect_uri=row["redirect_uri"], state=row["state"],
            nonce=row["nonce"], challenge=row["challenge"], launch=row["launch"],
            patient=row["patient"], encounter=row["encounter"],
        )  # fmt: skip  # One field a thought.

    async def choose_patient(self, number: str, session: str, patient: str) -> None:
        """The person whose record the app gets; one that a launch brought stays."""
        asked = await self.asked(number, session)
        if asked.launch is None:
            await tables.set_patient(self._connection, digest_of(number), patient)

    async def deny(self, number: str, session: str) -> None:
        """The person says no."""
        await self.asked(number, session)
        await tables.take_request(self._connection, digest_of(number))

    async def allow(
        self, subject: Subject, number: str, session: str, chosen: list[str]
    ) -> str:
        """The person says yes to what is ticked; the code. OAuthError where nothing is left or
        the launch was used meanwhile.
        """
        asked = await self.asked(number, session)
        scopes = requests.ticked(asked.scopes, chosen)
        if asked.scopes.grants and not scopes.grants:
            raise OAuthError("access_denied", "nothing was allowed")
        if asked.waits_for_patient:
            raise OAuthError("access_denied", "no patient was chosen")
        if not await tables.take_request(self._connection, digest_of(number)):
            raise OAuthError("access_denied", "the request was answered already")
        if asked.launch is not None and not await tables.take_launch(
            self._connection, asked.launch
        ):
            raise OAuthError("invalid_request", "the launch was used already")
        family, code = secret(128), secret()
        await tables.save_family(
            self._connection,
            (family, asked.client.id, subject.user, subject.practitioner_role, scopes.text(),
             asked.patient, asked.encounter, asked.nonce,
             None if "offline_access" in scopes.plain else digest_of(session),
             self._end_of(scopes), await self.signed_in_at(session),
             strength.acr_of(has_factor=await self._identity.factors.is_set(subject.user))),
        )  # fmt: skip  # A row.
        await tables.save_code(
            self._connection, digest_of(code), family, redirect_uri=asked.redirect_uri,
            challenge=asked.challenge, ends=_in(CODE_S),
        )  # fmt: skip  # One call.
        return code

    async def signed_in_at(self, session: str) -> datetime:
        """When the person of a page session signed in; UnauthorizedError where it is over."""
        found = await people_tables.signed_in_at(self._connection, digest_of(session))
        if found is None:
            raise UnauthorizedError("Sign in first")
        return found

    def _end_of(self, scopes: Scopes) -> datetime:
        if "offline_access" in scopes.plain:
            return now() + timedelta(days=self._settings.refresh_token_days)
        if "online_access" in scopes.plain:
            return now() + timedelta(hours=self._settings.session_max_hours)
        return _in(self._token_s + CODE_S)

    @property
    def _token_s(self) -> int:
        return min(max(self._settings.access_token_minutes, 5), 15) * 60

    async def _client(self, id_: str) -> Client | None:
        return await Clients(self._connection).get(id_)

    # The token address

    async def tokens(
        self, client: Client, form: Mapping[str, str], at: Addresses
    ) -> tuple[dict[str, Any], Subject]:
        """The answer of the token address, and for whom; OAuthError for what is not given."""
        match form.get("grant_type", ""):
            case "authorization_code":
                return await self._by_code(client, form, at)
            case "refresh_token":
                return await self._by_refresh(client, form, at)
            case "client_credentials":
                return await self._by_client(client, form)
        raise OAuthError("unsupported_grant_type", "authorization_code, refresh_token or "
                         "client_credentials")  # fmt: skip  # One sentence.

    async def _by_code(
        self, client: Client, form: Mapping[str, str], at: Addresses
    ) -> tuple[dict[str, Any], Subject]:
        refusal = OAuthError("invalid_grant", "the code is not accepted")
        row = await tables.use_code(self._connection, digest_of(form.get("code", "")))
        if row is None:
            raise refusal
        if not row["is_first"]:
            await self.end(row["family"])
            raise refusal
        family = await tables.family(self._connection, row["family"])
        if (
            family is None
            or not row["is_live"]
            or family["client"] != client.id
            or form.get("redirect_uri", "") != row["redirect_uri"]
            or not is_verified(form.get("code_verifier", ""), row["challenge"])
        ):
            await self.end(row["family"])
            raise refusal
        return await self._issued(family, parse(family["scopes"]), at)

    async def _by_refresh(
        self, client: Client, form: Mapping[str, str], at: Addresses
    ) -> tuple[dict[str, Any], Subject]:
        refusal = OAuthError("invalid_grant", "the refresh token is not accepted")
        digest = digest_of(form.get("refresh_token", ""))
        row = await tables.refresh(self._connection, digest)
        family = await tables.family(self._connection, row["family"]) if row is not None else None
        if row is None or family is None or family["client"] != client.id:
            raise refusal
        if not row["is_live"] or not family["is_present"]:
            raise refusal
        granted = parse(family["scopes"])
        scopes = narrowed(_wished(form["scope"]), granted) if form.get("scope") else granted
        if form.get("scope") and not scopes.grants and granted.grants:
            raise OAuthError("invalid_scope", "none of the scopes was granted")
        if row["is_used"] or not await tables.use_refresh(self._connection, digest):
            await self.end(row["family"])
            raise refusal
        return await self._issued(family, scopes, at, granted=granted)

    async def client_of(self, refresh: str) -> Client | None:
        """The public client that a refresh token was given to, or None."""
        row = await tables.refresh(self._connection, digest_of(refresh))
        family = await tables.family(self._connection, row["family"]) if row is not None else None
        found = await self._client(family["client"]) if family is not None else None
        return found if found is not None and not found.keys else None

    async def _by_client(
        self, client: Client, form: Mapping[str, str]
    ) -> tuple[dict[str, Any], Subject]:
        if not client.account:
            raise OAuthError("unauthorized_client", "this client acts for people alone")
        scopes = requests.asked_scopes(client, form.get("scope", ""), is_system=True)
        try:
            subject = await self._identity.subject_of(client.account)
        except DmedError as closed:
            raise OAuthError("invalid_client", "its account is closed", 401) from closed
        if subject.role != Role.SERVICE:
            raise OAuthError("unauthorized_client", "its account is no system's")
        text = msgspec.structs.replace(scopes, plain=()).text()
        given = tokens.Given(client=client.id, scope=text)
        token = tokens.make(self._keys, subject, self._settings.public_url, SYSTEM_TOKEN_S, given)
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": SYSTEM_TOKEN_S,
                  "scope": text}  # fmt: skip  # One answer.
        return answer, subject

    async def _issued(
        self, family: Any, scopes: Scopes, at: Addresses, *, granted: Scopes | None = None
    ) -> tuple[dict[str, Any], Subject]:
        try:
            subject = await self._identity.in_post(family["account"], family["post"])
        except UnauthorizedError as over:
            await self.end(family["id"])
            raise OAuthError("invalid_grant", "the account or the post has ended") from over
        given = tokens.Given(
            client=family["client"], scope=scopes.text(), patient=family["patient"],
            encounter=family["encounter"], family=family["id"], acr=family["acr"],
            auth_time=int(family["signed_in"].timestamp()),
        )  # fmt: skip  # One struct.
        answer: dict[str, Any] = {
            "access_token": tokens.make(
                self._keys, subject, self._settings.public_url, self._token_s, given
            ),
            "token_type": "Bearer",
            "expires_in": self._token_s,
            "scope": scopes.text(),
        }
        for name in ("patient", "encounter"):
            if family[name]:
                answer[name] = family[name]
        if family["patient"]:
            answer["need_patient_banner"] = True
        if "openid" in scopes.plain:
            answer["id_token"] = self._id_token(family, scopes, subject, at)
        kept = set((granted or scopes).plain)
        if kept & {"offline_access", "online_access"}:
            refresh = secret()
            await tables.save_refresh(
                self._connection, digest_of(refresh), family["id"], family["ends"]
            )
            answer["refresh_token"] = refresh
        return answer, subject

    def _id_token(self, family: Any, scopes: Scopes, subject: Subject, at: Addresses) -> str:
        moment = int(time.time())
        claims: dict[str, Any] = {
            "iss": at.issuer,
            "aud": family["client"],
            "iat": moment,
            "exp": moment + self._token_s,
            "auth_time": int(family["signed_in"].timestamp()),
            **who(scopes, subject, at),
        }
        if family["acr"]:
            claims["acr"] = family["acr"]
        if family["nonce"]:
            claims["nonce"] = family["nonce"]
        return tokens.signed(self._keys, "JWT", claims)

    # Later

    async def end(self, family: str) -> None:
        """End a consent: its refresh tokens at once, its access tokens within two seconds."""
        await tables.end_family(self._connection, family)
        await accounts.next_epoch(self._connection)

    async def revoke(self, client: Client, text: str) -> None:
        """Take a token of this client back (RFC 7009); silent for any other text."""
        row = await tables.refresh(self._connection, digest_of(text))
        if row is not None:
            family = await tables.family(self._connection, row["family"])
            if family is not None and family["client"] == client.id:
                await self.end(row["family"])
            return
        try:
            claims = self._identity.claims(text.encode())
        except UnauthorizedError:
            return
        if claims.client_id == client.id:
            await self._identity.revoke(text.encode())

    async def introspect(self, client: Client, text: str, at: Addresses) -> dict[str, Any]:
        """What a token of ours says while it is good (RFC 7662); a client that is no system of
        the platform learns of its own tokens alone.
        """
        try:
            subject = await self._identity.bearer(text.encode())
            claims = self._identity.claims(text.encode())
        except (UnauthorizedError, UnicodeEncodeError):
            return {"active": False}
        if claims.client_id != client.id and not client.account:
            return {"active": False}
        found = {
            "active": True, "scope": claims.scope, "client_id": claims.client_id,
            "username": subject.user, "token_type": "Bearer", "exp": claims.exp,
            "iat": claims.iat, "sub": claims.sub, "aud": at.fhir, "iss": at.issuer,
            "jti": claims.jti, "patient": claims.patient, "encounter": claims.encounter,
            "acr": claims.acr, "auth_time": claims.auth_time or "",
        }  # fmt: skip  # One answer.
        return {name: value for name, value in found.items() if value != ""}

    async def consents(self, user: str) -> list[dict[str, Any]]:
        """The apps that a person let in, newest first."""
        return [dict(row) for row in await tables.families_of(self._connection, user)]

    async def end_consent(self, user: str, family: str) -> None:
        """A person takes a consent back, and is asked again; silent where it is not theirs."""
        for row in await self.consents(user):
            if row["id"] == family:
                await self.forget(user, row["client"])

    async def forget(self, user: str, client: str) -> None:
        """End all that a person gave an app, remembered or not ("": every app)."""
        for row in await self.consents(user):
            if client in {"", row["client"]}:
                await tables.end_family(self._connection, row["id"])
        await self.remembered.forget(user, client)
        await accounts.next_epoch(self._connection)


def who(scopes: Scopes, subject: Subject, at: Addresses) -> dict[str, Any]:
    """The claims about a person that the scopes open: userinfo and id_token."""
    claims: dict[str, Any] = {"sub": subject.user}
    if "profile" in scopes.plain:
        claims |= {"name": subject.name or subject.user, "preferred_username": subject.user}
    if "fhirUser" in scopes.plain and subject.practitioner:
        claims["fhirUser"] = f"{at.fhir}/Practitioner/{subject.practitioner}"
    return claims


def is_verified(verifier: str, challenge: str) -> bool:
    """Whether a PKCE verifier belongs to its S256 challenge (RFC 7636, 4.6)."""
    if not _VERIFIER.fullmatch(verifier):
        return False
    digest = hashlib.sha256(verifier.encode()).digest()
    made = base64.urlsafe_b64encode(digest).rstrip(b"=")
    return hmac.compare_digest(made, challenge.encode())


def _wished(text: str) -> Scopes:
    try:
        return parse(text)
    except DmedError as fault:
        raise OAuthError("invalid_scope", fault.issues[0].diagnostics) from fault


def _in(seconds: int) -> datetime:
    return now() + timedelta(seconds=seconds)
