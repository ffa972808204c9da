"""The screens of trust: the door, my page, apps and consent; and my work today of each role."""

from __future__ import annotations

from dmed.modules.access.pages import accounts, apps, door, home, me
from dmed.trust.manifest import ANYBODY, SIGNED_IN, Endpoint, MenuItem, Route
from dmed.trust.model import Role

_PEOPLE = SIGNED_IN - {Role.SERVICE}
_ADMIN = frozenset({Role.ADMINISTRATOR})


def _both(
    path: str, shown: Endpoint, done: Endpoint, roles: frozenset[Role] = ANYBODY
) -> tuple[Route, Route]:
    """A page with its form: GET shows, POST does."""
    return (
        Route(path=path, endpoint=shown, roles=roles),
        Route(path=path, endpoint=done, roles=roles, methods=("POST",)),
    )


def _post(path: str, done: Endpoint, roles: frozenset[Role] = _PEOPLE) -> Route:
    return Route(path=path, endpoint=done, roles=roles, methods=("POST",))


ROUTES: tuple[Route, ...] = (
    Route(path="/", endpoint=home.home, roles=SIGNED_IN),
    *_both("/signin", door.sign_in_page, door.sign_in),
    *_both("/signin/factor", door.factor_page, door.factor),
    *_both("/signin/enrol", door.enrol_page, door.enrol),
    *_both("/signin/password", door.own_page, door.own),
    *_both("/signin/post", door.post_page, door.post),
    _post("/signin/unlock", door.unlock, ANYBODY),
    _post("/signin/lock", door.lock, SIGNED_IN),
    _post("/signout", door.sign_out, SIGNED_IN),
    _post("/language", home.language, ANYBODY),
    Route(path="/search", endpoint=home.search, roles=SIGNED_IN),
    Route(path="/me", endpoint=me.me, roles=SIGNED_IN),
    *_both("/me/password", me.password_page, me.set_password, _PEOPLE),
    *_both("/me/factor", me.factor_page, me.set_factor, _PEOPLE),
    _post("/me/factor/drop", me.drop_factor),
    _post("/me/pin", me.set_pin),
    _post("/me/post", door.post),
    _post("/me/sessions/end", me.end_session),
    _post("/me/apps/end", me.end_app),
    _post("/me/apps/forget", me.forget_app),
    Route(path="/accounts", endpoint=accounts.accounts, roles=_ADMIN),
    *_both("/accounts/new", accounts.new_page, accounts.make, _ADMIN),
    *_both("/accounts/{user}", accounts.account, accounts.end_account, _ADMIN),
    *_both("/apps", apps.apps, apps.open_app, _PEOPLE),
    Route(path="/oauth/authorize", endpoint=apps.authorize, roles=ANYBODY),
    *_both("/oauth/consent", apps.consent_page, apps.consent, _PEOPLE),
    _post("/oauth/patient", apps.pick),
)
MENU: tuple[MenuItem, ...] = (
    MenuItem(
        key="menu.home",
        path="/",
        icon="home",
        order=10,
        # The others' day begins on a page of their own.
        roles=frozenset({Role.DOCTOR, Role.REGISTRAR, Role.ADMINISTRATOR}),
        main=_ADMIN,
    ),
    MenuItem(key="access.accounts", path="/accounts", icon="persons", order=80, roles=_ADMIN,
             main=_ADMIN),
)
