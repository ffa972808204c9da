"""What the pages that work without a network share: their worker, their manifest, and the facts
that the browser keeps with their shell (static/offline-*.js).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from dmed.kit import i18n
from dmed.pages import view

_SHELL = ("dmed.css", "dmed.js", "logo.svg", "vendor/htmx.min.js", "icons.svg")
_PLAIN = ("offline-bytes.js", "offline-store.js", "offline-desk.js")
"""Modules of scripts, which import each other by plain names."""


async def worker(_: Request) -> Response:
    """The service worker, delivered from the root so that it may serve an area; which one, it sees
    by its own address.
    """
    return FileResponse(
        view.STATIC / "offline-worker.js", media_type="text/javascript",
        headers={"Content-Security-Policy": "default-src 'self'; connect-src 'self'",
                 "Cache-Control": "no-store"})  # fmt: skip  # One answer.


def manifest(request: Request, scope: str, start: str, title: str) -> Response:
    """An area as an app that can be installed: https://www.w3.org/TR/appmanifest/"""
    t = view.speech(request)
    icons = [{"src": view.static(f"counter-{size}.png"), "sizes": f"{size}x{size}",
              "type": "image/png", "purpose": "any"} for size in (192, 512)]
    return view.json_answer({
        "id": scope, "start_url": start, "scope": scope, "display": "standalone",
        "name": f"DMED — {t(title)}", "short_name": t(title),
        "lang": t.language, "background_color": "#f5f7f9", "theme_color": "#0b6e6e",
        "icons": icons,
    }, "application/manifest+json")  # fmt: skip  # One manifest.


def facts(
    request: Request, prefix: str, scripts: Sequence[str], plain: Sequence[str],
    others: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What such a page is made of: the addresses that the browser keeps (`scripts` by their digest,
    modules and the manifest by `plain` addresses), and its texts under `prefix`, with `others` by
    the short names that they have in the page.
    """
    texts = i18n.translator().texts[view.speech(request).language]
    kept = [view.static(name) for name in (*_SHELL, *scripts)]
    return {
        "assets": [*kept, *(f"/static/{name}" for name in _PLAIN), *plain],
        "texts": {key.removeprefix(prefix): text for key, text in texts.items()
                  if key.startswith(prefix)}
        | {short: texts[key] for short, key in (others or {}).items()},
    }  # fmt: skip  # Facts of one page.
