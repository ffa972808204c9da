"""What a passive and a light active scan would find, over every route and as every role.

`python tests/load/baseline.py` serves a small synthetic country in this process and asks every page
route of the registry, the open addresses and FHIR, as nobody and as each demo user: headers,
cookies, inline scripts, foreign and mixed content, chatty errors, methods, open redirects, foreign
hosts, path traversal, reflected markup, and writes without the page's token. It prints findings;
clean is no line and status 0. Same idea as ZAP's baseline scan; routes that come later are asked
by themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import httpx

from dmed.apps.web import Platform
from dmed.kit.settings import Settings
from dmed.pages.routes import ROUTES as SHARED
from dmed.store.keys import type_number
from dmed.trust.identity import DEMO_PASSWORDS
from dmed.trust.manifest import Route

HOST = "https://dmed.example"
EVIL = "evil.example"
REQUIRED = {
    "content-security-policy": r"default-src '(none|self)'|frame-ancestors 'none'",
    "x-content-type-options": r"^nosniff$",
    "x-frame-options": r"^DENY$",
    "referrer-policy": r"^(same-origin|no-referrer)$",
    "cross-origin-opener-policy": r"^same-origin$",
    "cross-origin-resource-policy": r"^(same-origin|cross-origin)$",
    "strict-transport-security": r"max-age=\d{8}",
    "cache-control": r".",
}
CHATTY = re.compile(
    r"Traceback|File \"|asyncpg|psycopg|site-packages|\.py\b.*line \d|sqlstate|relation \"",
    re.IGNORECASE)
MAY_BE_KEPT = re.compile(r"^/(static/|\.well-known/|oauth/jwks|openapi\.json|pages/camera-worker"
                         r"|fhir/\.well-known/|fhir/metadata)")  # fmt: skip  # One pattern.
OPEN = ["/livez", "/readyz", "/metrics", "/openapi.json", "/.well-known/security.txt",
        "/static/dmed.css", "/static/dmed.js", "/nothing/here", "/fhir/metadata"]
FHIR = ["/fhir/Patient", "/fhir/Patient/nobody", "/fhir/Nothing", "/fhir/Patient?x=%00",
        "/fhir/Patient/_history", "/fhir/$nothing", "/fhir/AuditEvent", "/fhir/Patient/a/b/c/d/e"]
TRAVERSALS = ["/static/../view.py", "/static/..%2fview.py", "/static/%2e%2e/%2e%2e/view.py",
              "/static/..%5cview.py", "/static//etc/passwd", "/static/%00", "/static/",
              "/static/vendor/../../view.py", "/static/....//view.py", "/%2e%2e/etc/passwd"]
REDIRECTS = [f"//{EVIL}", f"https://{EVIL}/", f"/\\{EVIL}", f"/%2f%2f{EVIL}", f"\\\\{EVIL}",
             f"/\t/{EVIL}", f"///{EVIL}", f"https:{EVIL}", f"/%5c{EVIL}", "javascript:alert(1)"]
MARKUP = "\"'><script>b4s3</script><img src=x onerror=b4s3>"


@dataclass
class Ledger:
    """What was asked and what was found."""

    asked: int = 0
    findings: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def find(self, what: str, where: str) -> None:
        """Notes a finding once."""
        line = f"{what}: {where}"
        if line not in self.seen:
            self.seen.add(line)
            self.findings.append(line)


class Markup(HTMLParser):
    """Looks for what the content security policy forbids, and for foreign content."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "script" and "src" not in given and given.get("type") != "application/json":
            self.wrong.append("inline script")
        if tag in {"style", "base", "object", "embed", "applet"}:
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            if name == "style" or re.fullmatch(r"on[a-z]+", name):
                self.wrong.append(f"{name}= on <{tag}>")
            loads = name in {"src", "srcset", "action", "formaction", "poster"} or (
                name == "href" and tag == "link")
            if loads and re.match(r"(https?:)?//", value or ""):
                self.wrong.append(f"foreign content {value}")
            leads = name in {"href", "content"}
            if leads and re.match(rf"(url=)?(https?:)?[/\\]+{EVIL}", value or ""):
                self.wrong.append(f"a link to {value}")
            if (value or "").strip().lower().startswith("javascript:"):
                self.wrong.append(f"script in {name}=")
        if tag == "form" and given.get("method", "").lower() == "get" and "password" in str(attrs):
            self.wrong.append("a password in a GET form")


def judge(ledger: Ledger, who: str, answer: httpx.Response) -> None:
    """Looks at one answer."""
    ledger.asked += 1
    path = answer.request.url.raw_path.decode("latin-1")
    where = f"{answer.request.method} {path} as {who} -> {answer.status_code}"
    if answer.status_code >= 500:
        ledger.find("fault of ours", where)
    for name, pattern in REQUIRED.items():
        if not re.search(pattern, answer.headers.get(name, "")):
            ledger.find(f"{name} is {answer.headers.get(name)!r}", where)
    for name in ("content-security-policy", "cache-control", "x-frame-options"):
        if len(answer.headers.get_list(name)) > 1:
            ledger.find(f"{name} is sent twice", where)
    for name in ("server", "x-powered-by", "x-aspnet-version"):
        if name in answer.headers:
            ledger.find(f"{name} tells what serves", where)
    if "no-store" not in answer.headers.get("cache-control", "") and not MAY_BE_KEPT.match(path):
        ledger.find("may be kept by a cache", where)
    policy = answer.headers.get("content-security-policy", "")
    if re.search(r"unsafe-inline|'unsafe-eval'|\*", policy):
        ledger.find("the policy allows inline, eval or anybody", where)
    if answer.headers.get("access-control-allow-origin", "") not in {"", "*"}:
        ledger.find("another origin may read", where)
    for cookie in answer.headers.get_list("set-cookie"):
        _judge_cookie(ledger, cookie, where)
    location = answer.headers.get("location", "")
    if EVIL in httpx.URL(location).host if location.startswith(("http", "//")) else False:
        ledger.find(f"leads elsewhere ({location})", where)
    _judge_body(ledger, answer, where)


def _judge_cookie(ledger: Ledger, cookie: str, where: str) -> None:
    name = cookie.partition("=")[0]
    flags = cookie.lower()
    if "samesite=" not in flags or "samesite=none" in flags:
        ledger.find(f"cookie {name} without SameSite", where)
    if "secure" not in flags:
        ledger.find(f"cookie {name} without Secure", where)
    is_secret = "session" in name or "device" in name
    if is_secret and "httponly" not in flags:
        ledger.find(f"cookie {name} without HttpOnly", where)
    if is_secret and not name.startswith(("__Host-", "__Secure-")):
        ledger.find(f"cookie {name} without prefix", where)


def _judge_body(ledger: Ledger, answer: httpx.Response, where: str) -> None:
    kind = answer.headers.get("content-type", "")
    if "pdf" in kind or "font" in kind or "image" in kind:
        return
    text = answer.text
    if answer.status_code >= 400 and CHATTY.search(text):
        ledger.find("an error tells inner things", where)
    if "<script>b4s3" in text and "html" in kind:
        ledger.find("markup is given back as markup", where)
    if "html" in kind:
        found = Markup()
        found.feed(text)
        for wrong in sorted(set(found.wrong)):
            ledger.find(wrong, where)
    if "text/html" in kind and "charset=utf-8" not in kind:
        ledger.find("no charset", where)


def addresses(routes: list[Route], ids: dict[str, str]) -> Iterator[tuple[Route, str]]:
    """Every route with something at its places."""
    for route in routes:
        path = re.sub(r"\{(\w+)(:\w+)?\}", lambda place: "1" if place[2] == ":int" else
                      ids.get(place[1], "x"), route.path)
        yield route, path


async def ask(client: httpx.AsyncClient, ledger: Ledger, who: str, method: str, path: str,
              **options: object) -> httpx.Response:
    """Sends a request to the very bytes of this path, and judges the answer."""
    place, mark, query = path.partition("?")
    path = place + mark + quote(query, safe="=&/:%")
    request = client.build_request(method, "/", **options)  # type: ignore[arg-type]  # Handed on.
    request.url = request.url.copy_with(raw_path=path.encode("latin-1", "replace"))
    answer = await client.send(request)
    judge(ledger, who, answer)
    return answer


async def scan(platform: Platform, ids: dict[str, str] | None = None) -> Ledger:
    """Asks an open platform, whose address is HOST and whose demo accounts exist."""
    ledger = Ledger()
    routes = [*SHARED, *(one for each in platform.manifests for one in each.routes)]
    places = list(addresses(routes, ids or {}))
    async with _client(platform) as nobody:
        await _as_nobody(nobody, ledger, places)
        await _tricks(nobody, ledger)
    for user in sorted(set(DEMO_PASSWORDS) - {"service"}):
        async with _client(platform) as client:
            if await _sign_in(client, ledger, user):
                await _as_user(client, ledger, user, places)
    return ledger


@asynccontextmanager
async def _client(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=platform, raise_app_exceptions=False)  # type: ignore[arg-type]  # Its scope is a mapping.
    async with httpx.AsyncClient(transport=transport, base_url=HOST, timeout=60) as client:
        yield client


async def _sign_in(client: httpx.AsyncClient, ledger: Ledger, user: str) -> bool:
    answer = await client.post("/signin", data={"user": user, "password": DEMO_PASSWORDS[user]})
    judge(ledger, user, answer)
    home = await client.get("/", follow_redirects=True)
    if "/signin" in str(home.url) or answer.status_code != 303:
        ledger.find("cannot sign in", f"{user}: {answer.status_code}, {home.url}")
        return False
    return True


async def _as_nobody(client: httpx.AsyncClient, ledger: Ledger,
                     places: list[tuple[Route, str]]) -> None:
    for path in [*OPEN, *FHIR]:
        answer = await ask(client, ledger, "nobody", "GET", path)
        if path in FHIR and answer.status_code not in {401, 404}:
            ledger.find("FHIR without sign-in", f"{path} -> {answer.status_code}")
    for route, path in places:
        for method in route.methods:
            answer = await ask(client, ledger, "nobody", method, path)
            if route.roles and answer.status_code not in {303, 401, 403}:
                ledger.find("open without sign-in", f"{method} {path} -> {answer.status_code}")


async def _as_user(client: httpx.AsyncClient, ledger: Ledger, user: str,
                   places: list[tuple[Route, str]]) -> None:
    for route, path in places:
        if "signout" in path or "lock" in path:
            continue
        for method in route.methods:
            answer = await ask(client, ledger, user, method, path)
            is_away = answer.headers.get("location", "").startswith("/signin")
            is_write = method not in {"GET", "HEAD"} and not path.startswith("/oauth/")
            if is_write and answer.status_code != 403 and not is_away:
                ledger.find("a write without the page's token",
                            f"{method} {path} as {user} -> {answer.status_code}")
            if method == "GET":
                await ask(client, ledger, user, "GET", f"{path}?q={MARKUP}&next=//{EVIL}")
    for path in FHIR:
        await ask(client, ledger, user, "GET", path)
        answer = await ask(client, ledger, user, "POST", path, json={})
        if answer.status_code not in {403, 404, 405}:
            ledger.find("a FHIR write by cookie without token", f"{path} -> {answer.status_code}")


async def _tricks(client: httpx.AsyncClient, ledger: Ledger) -> None:
    for path in TRAVERSALS:
        answer = await ask(client, ledger, "nobody", "GET", path)
        if answer.status_code == 200:
            ledger.find("a file outside the static ones", path)
    for path in ("/", "/signin", "/fhir/Patient", "/static/dmed.css", "/fhir/metadata"):
        for method in ("TRACE", "TRACK", "CONNECT", "OPTIONS", "PUT", "DEBUG", "X"):
            answer = await ask(client, ledger, "nobody", method, path, headers={"x-echo": "b4s3"})
            if "b4s3" in answer.text or (method != "OPTIONS" and answer.status_code < 300):
                ledger.find("a method is answered", f"{method} {path} -> {answer.status_code}")
    for target in REDIRECTS:
        chosen = {"code": "uz", "next": target}
        for method, path in (("POST", "/language"), ("GET", f"/signin?next={target}")):
            answer = await ask(client, ledger, "nobody", method, path,
                               **({"data": chosen} if method == "POST" else {}))
            location = answer.headers.get("location", "/")
            if EVIL in location and not re.match(r"/[\w%]", location):
                ledger.find("an open redirect", f"{path} -> {location!r}")
    for path in ("/", "/signin", "/fhir/metadata", "/fhir/Patient", "/.well-known/security.txt",
                 "/.well-known/openid-configuration"):
        for name in ("host", "x-forwarded-host", "forwarded", "x-forwarded-proto"):
            answer = await ask(client, ledger, "nobody", "GET", path, headers={name: EVIL})
            if EVIL in answer.text or EVIL in str(answer.headers):
                ledger.find("a foreign host is believed", f"{path} by {name}")
        answer = await ask(client, ledger, "nobody", "GET", path,
                           headers={"origin": f"https://{EVIL}"})  # fmt: skip  # One request.
        if EVIL in str(answer.headers):
            ledger.find("a foreign origin is allowed", path)


async def whole(own: Settings) -> Ledger:
    """A platform over an installation with the demo country, scanned."""
    platform = Platform(own)
    await platform.open()
    try:
        hot = platform.database.hot
        person = await hot.fetchval("SELECT id FROM resource WHERE type = $1 LIMIT 1",
                                    type_number("Patient"))
        return await scan(platform, {"id": person or "x", "rest": f"Patient/{person}",
                                     "code": "ru", "what": "allergy", "number": "1726-0000-0010"})
    finally:
        await platform.close()


def main() -> int:
    """Serve, ask, tell; 1 where something was found."""
    from dmed.apps.accounts import is_empty
    from dmed.apps.country import fill_at
    from dmed.apps.database import database, prepare

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--folder", type=Path, help="an installation with the demo country")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="dmed-baseline-") as empty:
        Path(empty).chmod(0o711)
        folder = given.folder or empty
        own = Settings(data=Path(folder) / "data", public_url=HOST)
        with database(own) as addresses:
            asyncio.run(prepare(addresses))
            if asyncio.run(is_empty(addresses)):
                fill_at(own, addresses, persons=20, seed=1, until="")
            served = Settings(data=own.data, database_url=addresses.application, public_url=HOST)
            ledger = asyncio.run(whole(served))
    for line in ledger.findings:
        print(line)
    print(f"{ledger.asked} answers, {len(ledger.findings)} findings")
    return 1 if ledger.findings else 0


if __name__ == "__main__":
    sys.exit(main())
