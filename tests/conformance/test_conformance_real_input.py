"""Examples made by others go in and come back; every refusal is a reviewed one."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest
import real_input
from real_input import Outcome

from dmed.apps.database import Addresses, prepare
from dmed.apps.rooms import MODULES
from dmed.apps.web import Platform
from dmed.kit.settings import Settings
from dmed.trust import guides


@pytest.fixture(scope="module")
async def platform(module_database_url: str, tmp_path_factory: pytest.TempPathFactory,
                   ) -> AsyncIterator[Platform]:
    """The platform on a fresh database.

    Without the modules' say in plain writes: what is proved here is that the store takes R5 as it
    is, while a prescription made elsewhere comes in by import or by an act with its rules.
    """
    settings = Settings(database_url=module_database_url, pool_size=4,
                        data=tmp_path_factory.mktemp("data"))
    await prepare(Addresses(module_database_url, module_database_url))
    plain = [msgspec.structs.replace(module, interceptors=()) for module in MODULES]
    made = Platform(settings, plain)
    await made.open()
    await made.guard.identity.save_demo()
    yield made
    await made.close()


@pytest.fixture(scope="module")
async def client(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """The platform, asked as the service client."""
    token = await platform.guard.identity.issue_demo_token("service")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=platform),
                                 base_url="http://test", headers=headers) as made:
        yield made


def _judge(name: str, outcome: Outcome) -> None:
    reviewed = real_input.expected()[name]

    assert outcome.unequal == {}
    assert reviewed.keys() == outcome.refused.keys(), {
        "new refusals": {key: outcome.refused[key]
                         for key in outcome.refused.keys() - reviewed.keys()},
        "no longer refused": sorted(reviewed.keys() - outcome.refused.keys())}
    assert outcome.sent == outcome.equal + len(outcome.refused)


async def test_national_examples(client: httpx.AsyncClient, shared_data: Path) -> None:
    """Every example of the national guide is stored and comes back equal, or is a reviewed no."""
    _judge("national", await real_input.send_all(client, real_input.national(shared_data)))


async def test_national_transaction_bundle(client: httpx.AsyncClient, shared_data: Path) -> None:
    """The guide's transaction Bundle is executed whole, its references point to what was made."""
    path = shared_data / "uz-core/core/examples/Bundle-example-transaction-bundle.json"
    bundle = json.loads(path.read_bytes())
    answer = await client.post("/fhir", content=path.read_bytes())

    assert answer.status_code == 200, answer.text
    made = answer.json()["entry"]
    assert len(made) == len(bundle["entry"])
    for entry in made:
        record = await client.get("/fhir/" + entry["response"]["location"].split("/fhir/")[-1])
        assert record.status_code == 200
        assert "urn:uuid:" not in json.dumps(record.json().get("subject", {}))


@pytest.fixture(scope="module")
async def outcomes(
    platform: Platform, client: httpx.AsyncClient, shared_data: Path, r5_examples: Path
) -> dict[str, Outcome]:
    """All three sets, sent once."""
    found = {"national": await real_input.send_all(client, real_input.national(shared_data)),
             "r5": await real_input.send_all(client, real_input.official(r5_examples))}
    # Profiles are among the examples; a worker learns of them every few seconds, here now.
    await guides.refresh(platform.database)
    entries = real_input.official_entries(r5_examples)
    return found | {"r5 entries": await real_input.send_all(client, entries)}


@pytest.mark.slow
async def test_official_r5_examples(outcomes: dict[str, Outcome]) -> None:
    """At least 99 % of the official R5 examples are stored and equal; the rest is reviewed."""
    _judge("r5", outcomes["r5"])
    _judge("r5 entries", outcomes["r5 entries"])

    assert outcomes["r5"].equal >= 0.99 * outcomes["r5"].sent


@pytest.mark.slow
async def test_the_page_tells_what_happens(outcomes: dict[str, Outcome]) -> None:
    """docs/reference/real-input.md holds these counts; `make real-input` writes it anew."""
    text = real_input.page(outcomes)
    if os.environ.get("DMED_WRITE_PAGES") == "1":
        real_input.PAGE.write_text(text)

    assert real_input.PAGE.read_text() == text
