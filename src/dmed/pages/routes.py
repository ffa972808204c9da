"""Addresses that belong to no module: the gallery of components, and the camera's worker."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from dmed.pages import gallery, view
from dmed.trust.manifest import ANYBODY, Route

WORKER_POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'"


async def camera_worker(_: Request) -> Response:
    """The script that reads codes in camera frames.

    A worker obeys the policy of its own answer, so WebAssembly is allowed here and nowhere else.
    """
    return FileResponse(
        view.STATIC / "camera-worker.js",
        media_type="text/javascript",
        headers={"Content-Security-Policy": WORKER_POLICY, "Cache-Control": "no-cache"},
    )


ROUTES: tuple[Route, ...] = (
    Route(path="/pages/gallery", endpoint=gallery.page, roles=ANYBODY),
    Route(path="/pages/camera-worker.js", endpoint=camera_worker, roles=ANYBODY),
)
"""What apps/web.py serves beside the modules' own addresses; the gallery shows invented data."""
