"""Cookies that no other host can plant, and forms that no other page can send."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dmed.kit.errors import ForbiddenError
from dmed.kit.settings import Settings
from dmed.trust.guard import COOKIE, Guard, check_origin, session_cookie
from dmed.trust.keys import load_keys


def _guard(tmp_path: Path) -> Guard:
    return Guard(None, Settings(data=tmp_path), load_keys(tmp_path))  # type: ignore[arg-type]  # No question is asked of it.


def test_over_tls_the_session_belongs_to_this_host_alone(tmp_path: Path) -> None:
    """Prefix __Host- with Secure and Path=/, without Domain; HttpOnly and SameSite always."""
    made = _guard(tmp_path).cookie_header("abc", {"scheme": "https"})

    assert made == f"__Host-{COOKIE}=abc; Path=/; HttpOnly; SameSite=Lax; Secure"
    device = _guard(tmp_path).device_header("xyz", {"scheme": "https"})
    assert device.startswith("__Secure-dmed_device=xyz; Path=/signin; HttpOnly; SameSite=Strict")
    assert device.endswith("; Secure")


def test_over_tls_a_planted_cookie_without_the_prefix_is_nobody() -> None:
    """A neighbour's host may set the plain name: over TLS it is not read."""
    planted = f"{COOKIE}=evil".encode()

    assert session_cookie(planted, is_secure=True) == ""
    assert session_cookie(planted, is_secure=False) == "evil"
    assert session_cookie(planted + f"; __Host-{COOKIE}=ours".encode(), is_secure=True) == "ours"
    assert session_cookie(f"__Host-{COOKIE}=ours; {COOKIE}=evil".encode()) == "ours"


@pytest.mark.parametrize(
    ("site", "mode", "refused"),
    [("cross-site", "navigate", True), ("same-site", "navigate", True), ("same-origin", "navigate",
     False), ("none", "navigate", False), ("", "", False), ("cross-site", "cors", False)],
)  # fmt: skip  # A table of cases.
def test_a_foreign_page_cannot_send_a_form(site: str, mode: str, *, refused: bool) -> None:
    """What a browser says comes from elsewhere is refused before sign-in; programs are not."""
    headers = [(b"sec-fetch-site", site.encode()), (b"sec-fetch-mode", mode.encode())]
    scope: dict[str, Any] = {"method": "POST", "path": "/signin",
                             "headers": [one for one in headers if one[1]]}  # fmt: skip  # One.
    if not refused:
        check_origin(scope)
        return
    with pytest.raises(ForbiddenError, match="foreign page"):
        check_origin(scope)
    check_origin({**scope, "method": "GET"})
