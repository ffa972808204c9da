"""The environment of templates, the way of refusals, and the gallery of components."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dmed.kit import i18n
from dmed.kit.errors import ConflictError, UnauthorizedError
from dmed.pages import chart, gallery, view
from dmed.pages.routes import ROUTES
from dmed.trust.manifest import MenuItem
from dmed.trust.model import Role, Subject

SOURCE = Path(view.__file__).resolve().parent.parent
TEMPLATES = sorted(SOURCE.rglob("templates/**/*.html"))


async def _refusing(_: Request) -> Response:
    raise ConflictError("the prescription is with another pharmacy")


async def _closed(_: Request) -> Response:
    raise UnauthorizedError("sign in first")


@pytest.fixture
def client() -> httpx.AsyncClient:
    """The pages without modules: the gallery, and two handlers that refuse."""
    app = Starlette(
        routes=[
            *(Route(route.path, view.screen(route.endpoint)) for route in ROUTES),
            Route("/refusing", view.screen(_refusing)),
            Route("/closed", view.screen(_closed)),
        ]
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://dmed")


@pytest.mark.parametrize("language", i18n.LANGUAGES)
async def test_the_gallery_shows_every_component_in_every_language(
    client: httpx.AsyncClient, language: str
) -> None:
    """Each component is rendered once under its name; no key and no undefined value is left."""
    client.cookies.set("dmed_language", language)

    answer = await client.get("/pages/gallery")

    assert answer.status_code == 200
    assert all(f'id="c-{name}"' in answer.text for name in gallery.COMPONENTS)
    assert f'<html lang="{language}"' in answer.text
    assert not re.search(r">\s*(gallery|shell|act)\.[\w.]+\s*<", answer.text)


@pytest.mark.parametrize(("places", "shown", "kept"), [
    (3, 3, []), (5, 5, []), (6, 4, ["/3", "/4"]),
    (12, 4, [f"/{number}" for number in range(3, 11)])])
def test_a_phone_has_at_most_five_places(places: int, shown: int, kept: list[str]) -> None:
    """Of more than five places the four that the role uses most stand in the bar, in their order;
    the others behind "more", and no other role's.
    """
    role = Role.INSPECTOR
    menu = [MenuItem(key="menu.home", path=f"/{number}", icon="home", order=number,
                     roles=frozenset({role}),
                     main=frozenset({role} if number == places - 1 else {Role.DOCTOR}))
            for number in range(places)]
    menu.append(MenuItem(key="menu.home", path="/x", icon="home", roles=frozenset({Role.HEAD})))

    found = view.places(menu, Subject(user="i", role=role))

    assert len(found["rail"]) == places
    assert len(found["rail"]) - len(found["rest"]) == shown
    assert [item.path for item in found["rest"]] == kept
    assert view.places(menu, None) == {"rail": [], "rest": []}


async def test_pages_forbid_inline_script_and_style(client: httpx.AsyncClient) -> None:
    """The policy of the answer has no unsafe-inline, and the page needs none."""
    answer = await client.get("/pages/gallery")

    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_templates_hold_no_inline_code_and_no_words(path: Path) -> None:
    """No style attribute, no handler, no inline script; words come from the locale files."""
    text = path.read_text(encoding="utf-8")

    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)", text)
    visible = re.sub(r"\{[{%#].*?[}%#]\}|<[^>]*>", " ", text, flags=re.DOTALL)
    assert not re.search(r"[А-Яа-яЎўҚқҒғҲҳ]|[A-Za-z][a-z]{3,} [a-z]{3,}", visible), visible


async def test_a_worker_alone_may_compile_webassembly(client: httpx.AsyncClient) -> None:
    """The camera's worker brings its own policy; it says so in its own answer only."""
    answer = await client.get("/pages/camera-worker.js")

    assert "wasm-unsafe-eval" in answer.headers["Content-Security-Policy"]
    assert "wasm-unsafe-eval" not in view.POLICY


async def test_a_refusal_is_a_sentence_as_page_or_as_note(client: httpx.AsyncClient) -> None:
    """The status is the refusal's; htmx gets only the note, which goes to the notices."""
    page = await client.get("/refusing")
    note = await client.get("/refusing", headers={"HX-Request": "true"})

    assert (page.status_code, note.status_code) == (409, 409)
    assert "with another pharmacy" in page.text
    assert "<html" in page.text
    assert "<html" not in note.text
    assert 'role="alert"' in note.text


async def test_nobody_signed_in_is_led_to_the_door_and_back(client: httpx.AsyncClient) -> None:
    """A page leads to the sign-in page with the way back; htmx is told to go there."""
    page = await client.get("/closed")
    part = await client.get("/closed", headers={"HX-Request": "true"})

    assert page.headers["Location"] == "/signin?next=/closed"
    assert part.headers["HX-Redirect"] == "/signin?next=/closed"


@pytest.mark.parametrize(
    ("target", "kept"),
    [("/card/1", "/card/1"), ("//evil.example", "/"), ("https://evil.example", "/"),
     ("/\\evil.example", "/"), ("", "/"), ("/a\n/b", "/")],
)  # fmt: skip  # A table of cases.
def test_redirects_stay_on_this_site(target: str, kept: str) -> None:
    """A `next` that would lead elsewhere leads home."""
    assert view.local_path(target) == kept


def test_static_addresses_change_with_their_content() -> None:
    """The digest is in the address, so browsers may keep the file for ever."""
    assert re.fullmatch(r"/static/dmed\.css\?v=[0-9a-f]{12}", view.static("dmed.css"))
    assert view.static("not-there.css") == "/static/not-there.css"


def test_every_icon_that_is_asked_for_exists() -> None:
    """Icons of the gallery, of menus and of templates are symbols of the one file."""
    symbols = set(re.findall(r'<symbol id="([\w-]+)"', (view.STATIC / "icons.svg").read_text()))
    asked: set[str] = set(gallery.ICONS)
    for path in TEMPLATES:
        asked |= set(re.findall(r"""icon\(["']([\w-]+)["']""", path.read_text(encoding="utf-8")))
    for path in SOURCE.glob("modules/*/pages.py"):
        asked |= set(re.findall(r"""icon["']?[=:]\s*["']([\w-]+)["']""", path.read_text()))

    assert asked <= symbols


def test_a_trend_keeps_time_and_value_in_its_box() -> None:
    """The x axis is time, the band is the normal range, and the last value is judged by it."""
    drawn = chart.trend(
        [("2026-01-01", 120.0), ("2026-01-31", 118.0), ("2026-11-01", 98.0)], 110, 150
    )

    assert drawn is not None
    places = [tuple(map(float, point.split(","))) for point in drawn.points.split()]
    assert places[1][0] - places[0][0] < places[2][0] - places[1][0]
    assert all(0 <= x <= drawn.width and 0 <= y <= drawn.height for x, y in places)
    assert drawn.is_outside
    assert drawn.band is not None


@pytest.mark.parametrize("values", [[], [("2026-01-01", 1.0)]])
def test_one_value_is_no_trend(values: list[Any]) -> None:
    """With fewer than two values there is nothing to draw."""
    assert chart.trend(values) is None


def test_equal_values_and_equal_days_are_drawn_too() -> None:
    """A flat line, and two values of one day, divide by nothing."""
    drawn = chart.trend([("2026-01-01", 5.0), ("2026-01-01", 5.0)])

    assert drawn is not None
    assert not drawn.is_outside
