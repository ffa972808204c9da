"""From a licence number to live: application, code, sandbox client, check, organisation, client."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from dmed.kit import clock
from dmed.kit.errors import ConflictError, InvalidError, NotFoundError
from dmed.kit.ids import secret
from dmed.modules.developers import rules, tables
from dmed.modules.developers.model import (
    Application,
    Entry,
    Kind,
    Reason,
    Result,
    State,
    Step,
)
from dmed.modules.developers.rules.joining import SANDBOX_SCOPES, TRIES_MAX
from dmed.modules.developers.service import sandbox
from dmed.modules.developers.service.register import Register, register_of
from dmed.modules.facilities import api as facilities
from dmed.trust import tables as trust_tables
from dmed.trust import tokens
from dmed.trust.guard import Guard
from dmed.trust.identity import Account
from dmed.trust.model import Role, Subject
from dmed.trust.oauth.clients import CONFIDENTIAL, Client

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

PLATFORM = Subject(user="joining", role=Role.ADMINISTRATOR, name="Joining", purpose="HSYSADMIN")
"""Who acts for newcomers: the platform itself, by its rules."""
_DEMO_SYSTEM = "service"
"""The demo account whose presence marks a demo installation."""
STALE = timedelta(hours=24)
HAND_SECONDS = 900


class RefusedError(InvalidError):
    """An application that cannot go on; `wrong` says why by field."""

    def __init__(self, wrong: dict[str, Reason]) -> None:
        self.wrong = wrong
        super().__init__("The application cannot go on: " + ", ".join(sorted(wrong)))


def digest_of(text: str) -> bytes:
    """What of a secret address is kept."""
    return hashlib.sha256(text.encode()).digest()


async def register_here(gateway: Gateway, guard: Guard) -> Register:
    """The register of licences of this installation."""
    row = await trust_tables.account(guard.connection, _DEMO_SYSTEM)
    return register_of(gateway.settings, is_demo=row is not None and row["demo"])


async def apply(
    gateway: Gateway, register: Register, given: dict[str, str]
) -> tuple[str, Application]:
    """A new application and its secret; the holder of the licence is sent a code.

    RefusedError with the reason by field; of two at the same time for one licence one is taken.
    """
    values, wrong = rules.read_application(given)
    if wrong:
        raise RefusedError(wrong)
    entry = await register.look_up(values["licence"])
    said = rules.admits(entry, values["tax_id"], Kind(values["kind"]), clock.today())
    if said is not None or entry is None:
        field, reason = said or ("licence", Reason("developers.fault.unknown"))
        raise RefusedError({field: reason})
    key = secret()
    async with gateway.unit(PLATFORM) as unit:
        made = await tables.apply(
            unit, digest_of(key), {**values, "name": entry.holder, "phone": entry.phone},
            stale_before=clock.now() - STALE)
    if made is None:
        raise RefusedError({"licence": Reason("developers.fault.under-way")})
    await register.send_code(made.licence)
    await gateway.note(PLATFORM, "C", f"application {made.number}: licence {made.licence}")
    return key, made


async def find(gateway: Gateway, key: str) -> Application:
    """The application of a secret address; NotFoundError where there is none."""
    async with gateway.unit(PLATFORM) as unit:
        found = await tables.by_secret(unit, digest_of(key))
    if found is None:
        raise NotFoundError("There is no application at this address")
    return found


async def prove(gateway: Gateway, register: Register, key: str, code: str) -> bool:
    """Whether the code is right: then the sandbox opens. After TRIES_MAX wrong ones it is over."""
    found = await find(gateway, key)
    if found.state is not State.CODE:
        return found.state in {State.SANDBOX, State.LIVE}
    async with gateway.unit(PLATFORM) as unit:
        tries = await tables.count_try(unit, found.number)
        if tries >= TRIES_MAX:
            await tables.set_state(unit, found.number, State.CLOSED)
    bare = code.replace(" ", "")
    is_right = (tries <= TRIES_MAX and bare.isascii() and bare.isdecimal() and len(bare) == 6
                and await register.check_code(found.licence, bare))
    if is_right:
        async with gateway.unit(PLATFORM) as unit:
            await tables.set_state(unit, found.number, State.SANDBOX)
    told = "right" if is_right else "wrong"
    await gateway.note(PLATFORM, "E", f"application {found.number}: code {told}")
    return is_right


async def register_keys(gateway: Gateway, guard: Guard, key: str, jwks: str) -> Client:
    """The OAuth client of the sandbox, made or given new keys; InvalidError for bad keys."""
    found = await _at(gateway, key, State.SANDBOX)
    client = found.client or f"sandbox-{found.number}"
    await guard.identity.save(
        Account(user=client, role=Role.SERVICE, name=f"{found.name} (sandbox)"), secret())
    made = await guard.clients.save(Client(
        id=client, name=f"{found.name} (sandbox)"[:100], kind=CONFIDENTIAL, keys=jwks,
        scopes=SANDBOX_SCOPES, account=client))
    async with gateway.unit(PLATFORM) as unit:
        await tables.set_client(unit, found.number, client)
        if not await tables.count(unit, client):
            await sandbox.plant(unit, msgspec.structs.replace(found, client=client))
    await gateway.note(PLATFORM, "U", f"application {found.number}: keys of client {client}")
    return made


async def token_by_hand(gateway: Gateway, guard: Guard, key: str) -> str:
    """A token of the sandbox for tries with curl; its calls prove nothing in the check."""
    found = await _at(gateway, key, State.SANDBOX)
    if not found.client:
        raise ConflictError("Register the public key of your system first")
    subject = await guard.identity.subject_of(found.client)
    given = tokens.Given(client=found.client, scope=SANDBOX_SCOPES)
    made = tokens.make(guard.keys, subject, gateway.settings.public_url, HAND_SECONDS, given)
    async with gateway.unit(PLATFORM) as unit:
        await tables.add_hand(unit, found.number, guard.identity.claims(made.encode()).jti)
    await gateway.note(PLATFORM, "E", f"application {found.number}: token by hand")
    return made


async def start_again(gateway: Gateway, key: str) -> None:
    """Empties the sandbox and plants its first records again."""
    found = await _at(gateway, key, State.SANDBOX)
    async with gateway.unit(PLATFORM) as unit:
        await tables.empty(unit, found.client)
        await sandbox.plant(unit, found)
    await gateway.note(PLATFORM, "D", f"application {found.number}: sandbox emptied")


async def check(gateway: Gateway, found: Application) -> tuple[Step, ...]:
    """The conformance check as it stands."""
    async with gateway.unit(PLATFORM) as unit:
        calls = await tables.calls(unit, found.client) if found.client else []
    return rules.judge(found.kind, calls)


async def go_live(gateway: Gateway, guard: Guard, register: Register, key: str) -> Application:
    """The institution and its client on the platform, once every step of the check has passed.

    The licence is asked for once more. RefusedError, ConflictError where a step has not passed.
    """
    found = await _at(gateway, key, State.SANDBOX, State.LIVE)
    if found.state is State.LIVE:
        return found
    steps = await check(gateway, found)
    if not found.client or any(step.result is not Result.PASSED for step in steps):
        raise ConflictError("Not every step of the check has passed")
    entry = await register.look_up(found.licence)
    said = rules.admits(entry, found.tax_id, found.kind, clock.today())
    if said is not None or entry is None:
        raise RefusedError({"live": said[1] if said else Reason("developers.fault.unknown")})
    keys = await guard.clients.get(found.client)
    async with gateway.unit(PLATFORM) as unit:
        held = await tables.by_secret(unit, digest_of(key), lock=True)
        if held is None or held.state is State.LIVE:
            return held or found
        organisation = await facilities.enlist(unit, _enlisted(entry))
        client = f"live-{found.number}"
        await guard.identity.save(Account(
            user=client, role=Role.SERVICE, name=entry.holder[:100], organisation=organisation,
            organisation_name=entry.holder), secret(), within=unit)
        await guard.clients.save(Client(
            id=client, name=entry.holder[:100], kind=CONFIDENTIAL,
            keys=keys.keys if keys else "", account=client,
            scopes=rules.live_scopes(found.kind, organisation)), within=unit)
        await tables.set_live(unit, found.number, organisation, client)
    await gateway.note(PLATFORM, "C", f"application {found.number}: live as {client}")
    return await find(gateway, key)


def _enlisted(entry: Entry) -> dict[str, str]:
    what = {Kind.CLINIC: "Tibbiy faoliyat", Kind.PHARMACY: "Farmatsevtika faoliyati"}[entry.kind]
    is_clinic = entry.kind is Kind.CLINIC
    return {
        "shape": "institution", "name": entry.holder, "name_ru": entry.holder_ru,
        "tax_id": entry.tax_id, "subordination": "I_5",
        "nomenclature": "II_300" if is_clinic else "II_900",
        "pharmacy": "0" if is_clinic else "1", "region": entry.region,
        "district": entry.district, "address": entry.address,
        "licences": f"{entry.number}; {what}; {entry.start}; {entry.end}",
    }  # fmt: skip  # One field a thought.


async def close(gateway: Gateway, guard: Guard, subject: Subject, number: int) -> None:
    """An administrator ends an application: its clients are refused from now on."""
    async with gateway.unit(subject) as unit:
        known = {one.number: one for one in await tables.listed(unit)}
        found = known.get(number)
        if found is None:
            raise NotFoundError("There is no such application")
        await tables.set_state(unit, number, State.CLOSED)
    for client in (found.client, found.live_client):
        if client:
            await guard.clients.close(client)
            await guard.identity.close_account(client)
    await gateway.note(subject, "U", f"application {number} closed")


async def _at(gateway: Gateway, key: str, *states: State) -> Application:
    found = await find(gateway, key)
    if found.state not in states:
        raise ConflictError("The application is not at this step")
    return found


