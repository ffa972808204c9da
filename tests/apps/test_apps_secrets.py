"""No secret in a log, an answer of refusal, or a sentence of the command line."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dmed.apps.rooms import MODULES
from dmed.apps.web import Platform
from dmed.kit.settings import Settings
from dmed.store.pool import Database
from dmed.store.schema import migrate
from dmed.trust import guides
from dmed.trust.identity import DEMO_PASSWORDS
from dmed.trust.tables import DDL

WORD = "A-Secret-Word-7391"
NAME = "Zulfiqorova"
HOST = "https://dmed.example"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that any logger says, at the chattiest level."""
    held = io.StringIO()
    handler = logging.StreamHandler(held)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield held
    root.removeHandler(handler)
    root.setLevel(before)


async def _acts(platform: Platform, client: httpx.AsyncClient) -> tuple[list[str], str]:
    """Sign-ins, tokens, records and refusals of all kinds; the secrets that were there, and every
    refusal's text.
    """
    token = await platform.guard.identity.issue_token("service")
    bearer = {"authorization": f"Bearer {token}", "content-type": "application/fhir+json"}
    signed = await client.post("/signin", data={
        "user": "doctor", "password": DEMO_PASSWORDS["doctor"]})
    cookies = [value.partition(";")[0].partition("=")[2]
               for value in signed.headers.get_list("set-cookie")]
    refused = [
        await client.post("/signin", data={"user": "doctor", "password": WORD}),
        await client.post("/signin", data={"user": WORD, "password": WORD}),
        await client.get("/fhir/Patient", headers={"authorization": f"Bearer {token}x"}),
        await client.get("/fhir/Patient", headers={"authorization": f"Basic {WORD}"}),
        await client.get(f"/fhir/Patient/{WORD}/{WORD}?token={WORD}", headers=bearer),
        await client.post("/fhir/Patient", headers=bearer, json={
            "resourceType": "Patient", "name": [{"family": NAME}], "gender": WORD}),
        await client.post("/fhir/Patient", headers=bearer, content=b'{"resourceType": "' + b"x"),
        await client.post("/me", data={"csrf_token": WORD}),
    ]
    await client.post("/fhir/Patient", headers=bearer, json={
        "resourceType": "Patient", "name": [{"family": NAME}], "birthDate": "1992-03-12"})
    await client.get(f"/fhir/Patient?name={NAME}", headers=bearer)
    texts = "\n".join(answer.text for answer in refused)
    return [token, token.rpartition(".")[2], *cookies, DEMO_PASSWORDS["doctor"]], texts


async def test_neither_logs_nor_refusals_tell_a_secret(
    database_url: str, tmp_path: Path, logged: io.StringIO,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip  # Its fixtures.
    """Passwords, tokens, cookies, keys and names of persons: none is in a log or on a terminal,
    also where an unexpected fault is logged with its trace; no refusal repeats a credential.
    """
    ddl = [*DDL, *guides.DDL, *(line for module in MODULES for line in module.ddl)]
    await migrate(database_url, ddl)
    platform = Platform(Settings(data=tmp_path, database_url=database_url, pool_size=4,
                                 public_url=HOST))  # fmt: skip  # One.
    await platform.open()
    transport = httpx.ASGITransport(app=platform, raise_app_exceptions=False)  # type: ignore[arg-type]  # Its scope is a mapping.
    try:
        await platform.guard.identity.save_demo()
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
            secrets, refused = await _acts(platform, client)

            def broken(_: Database) -> None:
                raise RuntimeError("the fault of this test")

            monkeypatch.setattr(Database, "searching", broken)
            monkeypatch.setattr(Database, "connection", broken)
            token = secrets[0]
            fault = await client.get(f"/fhir/Patient?name={NAME}&birthdate=1992", headers={
                "authorization": f"Bearer {token}"})
            monkeypatch.undo()
    finally:
        await platform.close()
    keys = [line for path in tmp_path.rglob("*.pem") for line in path.read_text().splitlines()
            if "-----" not in line]  # fmt: skip  # One list.
    said = logged.getvalue() + "".join(capfd.readouterr())
    # httpx writes the addresses that it asks into its own log; that is the test's client.
    ours = "\n".join(line for line in said.splitlines() if not line.startswith(("http", "hpack")))

    assert fault.status_code in {500, 503}
    assert "the fault of this test" not in fault.text
    assert keys
    for secret in [*secrets, *keys, WORD, NAME]:
        assert secret not in ours, f"logged: {secret[:12]}..."
    for secret in [*secrets, *keys]:
        assert secret not in refused


def test_a_fault_of_the_database_s_address_does_not_tell_its_word(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A command that cannot reach its database says so without the password of the address."""
    from dmed.apps import cli

    monkeypatch.setenv("DMED_DATABASE_URL", f"postgresql://dmed:{WORD}@127.0.0.1:1/none")
    monkeypatch.setenv("DMED_DATA", str(tmp_path))
    with pytest.raises(BaseException) as ended:  # noqa: PT011  # Whatever ends it is looked at.
        cli.main(["token", "--user", "service"], standalone_mode=False)
    said = "".join(capfd.readouterr()) + str(ended.value)

    assert WORD not in said
