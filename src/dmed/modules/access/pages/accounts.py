"""The administrator's pages of accounts: find one, make one for a post, help who is locked out."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dmed.kit.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from dmed.modules.access import rules
from dmed.modules.access.pages.door import guard_of
from dmed.modules.workforce import api as workforce
from dmed.pages import view
from dmed.trust.identity import Account
from dmed.trust.model import Role
from dmed.trust.recovery import SEEN_MAX

TEXT_MAX = 100
FOUND_MAX = 50
_FIELDS = ("user", "name", "role", "post")
GIVEN = (Role.DOCTOR, Role.PHARMACIST, Role.REGISTRAR, Role.HEAD, Role.INSPECTOR,
         Role.ADMINISTRATOR)
"""Roles that an administrator gives."""


async def accounts(request: Request) -> Response:
    """Accounts by the beginning of a sign-in name or a name."""
    text = request.query_params.get("q", "").strip()[:TEXT_MAX]
    found = await guard_of(request).identity.accounts(text, FOUND_MAX)
    await view.gateway(request).note(view.signed_in(request), "E", "accounts looked at")
    return view.render(request, "access/accounts.html", {
        "accounts": found, "q": text, "is_cut": len(found) == FOUND_MAX})


async def new_page(request: Request) -> Response:
    """Whose account: found in the staff register by name or number."""
    return await _new(request)


async def _new(
    request: Request, given: dict[str, str] | None = None, fault: str = "", status: int = 200
) -> Response:
    subject = view.signed_in(request)
    text = request.query_params.get("q", "").strip()[:TEXT_MAX]
    found = await workforce.find(view.gateway(request), subject, text) if text else []
    if text:
        await view.gateway(request).note(subject, "E", "staff sought for an account")
    t = view.speech(request)
    facts = {
        "q": text, "found": found, "fault": fault,
        "role_options": [(one.value, t(f"role.{one.value}")) for one in GIVEN],
        "given": given or dict.fromkeys(_FIELDS, ""),
    }
    return view.render(request, "access/account_new.html", facts, status=status)


async def make(request: Request) -> Response:
    """The new account; its first password is shown once."""
    subject = view.signed_in(request)
    form = await view.form(request)
    given = {name: view.field(form, name) for name in _FIELDS}
    identity = guard_of(request).identity
    try:
        account = await _account(request, given)
        password = await identity.enlisting.enlist(account)
    except ConflictError:
        return await _new(request, given, "access.user_taken", 409)
    except InvalidError as refusal:
        kind = refusal.issues[0].expression or "user"
        return await _new(request, given, f"access.new_{kind}", 422)
    said = f"account {account.user} made as {account.role.value}"
    await view.gateway(request).note(subject, "C", said)
    return _shown(request, account.user, account.name, password)


async def _account(request: Request, given: dict[str, str]) -> Account:
    if given["role"] not in set(GIVEN):
        raise InvalidError("This role is not given here", "role")
    role = Role(given["role"])
    practitioner, _, post = given["post"].partition("/")
    if not post:
        name = given["name"][:TEXT_MAX]
        return Account(user=given["user"], role=role, name=name or given["user"])
    subject, gateway = view.signed_in(request), view.gateway(request)
    try:
        found = await workforce.practitioner(gateway, subject, practitioner, post)
    except NotFoundError as gone:
        raise InvalidError("There is no such post in the staff register", "post") from gone
    if found.role_id != post:
        raise InvalidError("There is no such post in the staff register", "post")
    place = await gateway.get(subject, "Organization", found.organisation) if (
        found.organisation) else {}
    return Account(
        user=given["user"], role=role, name=found.name, practitioner=found.id,
        practitioner_role=found.role_id, organisation=found.organisation,
        organisation_name=str(place.get("name", "")), post=found.post)


def _shown(request: Request, user: str, name: str, password: str) -> Response:
    settings = request.app.state.settings
    facts = {"user": user, "name": name, "password": password,
             "hours": settings.first_password_hours}
    answer = view.render(request, "access/account_made.html", facts)
    answer.headers["Cache-Control"] = "no-store"
    return answer


async def account(request: Request) -> Response:
    """Where somebody is signed in, and their second factor; for a lost computer or telephone."""
    return await _one(request)


async def _one(request: Request, fault: str = "", status: int = 200) -> Response:
    user = request.path_params["user"]
    identity = guard_of(request).identity
    found = await identity.enlisting.look(user)
    facts = {
        "fault": fault,
        "who": found.subject,
        "is_open": found.is_open,
        "is_demo": found.is_demo,
        "sessions": [
            {**row, "browser": rules.browser_of(row["agent"])}
            for row in await identity.sessions.of(user)
        ],
        "has_factor": await identity.factors.is_set(user),
        "apps": await guard_of(request).grants.consents(user),
    }
    return view.render(request, "access/account.html", facts, status=status)


async def end_account(request: Request) -> Response:
    """Ends sessions and apps of somebody, or takes a lost second factor away."""
    subject = view.signed_in(request)
    user = request.path_params["user"]
    form = await view.form(request)
    guard = guard_of(request)
    act = view.field(form, "act")
    if act == "reopen":
        await guard.identity.enlisting.reopen(user)
        await view.gateway(request).note(subject, "U", f"account {user} opened again")
        return RedirectResponse(f"/accounts/{user}", 303)
    found = await guard.identity.subject_of(user)
    if act in {"first", "factor"}:
        return await _give_back(request, act, found.name, view.field(form, "seen"))
    match act:
        case "close":
            if user == subject.user:
                raise ForbiddenError("Your own account is closed by another administrator")
            await guard.identity.close_account(user)
        case "session":
            await guard.identity.sessions.end(user, view.field(form, "number"))
        case "sessions":
            await guard.identity.sessions.end_others(user, "")
            await guard.grants.forget(user, "")
        case other:
            raise InvalidError(f"There is no act {other[:20]!r}")
    said = f"{act} of {user} ended by the administrator"
    await view.gateway(request).note(subject, "E", said)
    return RedirectResponse(f"/accounts/{user}", 303)


async def _give_back(request: Request, act: str, name: str, seen: str) -> Response:
    """A new first password, or the second factor taken away, after what proved who it is."""
    subject = view.signed_in(request)
    user = request.path_params["user"]
    recovery = guard_of(request).identity.recovery
    proof = f"; seen in person: {seen[:SEEN_MAX]}"
    try:
        if act == "factor":
            await recovery.factor(subject.user, user, seen)
            said = f"factor of {user} ended by the administrator{proof}"
            await view.gateway(request).note(subject, "E", said)
            return RedirectResponse(f"/accounts/{user}", 303)
        password = await recovery.password(subject.user, user, seen)
    except (InvalidError, ForbiddenError) as refusal:
        kind = refusal.issues[0].expression
        if not kind.startswith("recovery."):
            raise
        await view.gateway(request).note(
            subject, "E", f"{act} of {user} refused: {kind}", outcome=refusal.status)
        return await _one(request, f"access.{kind.replace('.', '_')}", refusal.status)
    await view.gateway(request).note(subject, "U", f"new first password of {user}{proof}")
    return _shown(request, user, name, password)
