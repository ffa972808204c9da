"""FHIR addresses opened in a real browser by a doctor, with the keyboard."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

pytestmark = pytest.mark.journey
PAGE_BYTES_MAX = 50_000
TRIAL_MS_MAX = 20_000
"""A trial runs in a process of its own, which a busy machine is slow to start."""


def axe_script() -> str:
    """axe-core, brought by the set-up beside this Python; a skip where it is not."""
    path = Path(sys.prefix) / "share" / "dmed-tests" / "axe.min.js"
    if not path.exists():
        pytest.skip("axe-core is not here: make setup brings it (tools/install_browser_parts.py)")
    return path.read_text(encoding="utf-8")


def violations(place: Any, script: str) -> list[str]:
    """What axe-core complains of on the present page: rule, and the first element."""
    place.page.evaluate(script)
    answer = place.page.evaluate(
        "(runOnly) => axe.run(document, {runOnly, resultTypes: ['violations']})",
        ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    )
    return [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in answer["violations"]]


def forgive_refusals(place: Any) -> None:
    """A page of a refusal has its status, which the browser's console repeats."""
    place.complaints[:] = [one for one in place.complaints if "Failed to load" not in one]


def first_patient(place: Any) -> str:
    """Search by the keyboard alone from the first page; gives "Patient/123"."""
    place.page.goto(place.address + "/fhir")
    place.page.locator("#reader-type:focus").wait_for()
    place.type("Patient")
    place.press("Enter")
    place.page.wait_for_url("**/fhir/Patient")
    place.press("Alt+1")
    place.page.wait_for_url("**/fhir/Patient/*")
    return str(place.page.url.split("/fhir/")[1])


def test_from_the_first_page_to_a_value(workplace: Callable[..., Any]) -> None:
    """Type, list, record, JSON and FHIRPath are reached by keys; the trial answers and explains."""
    doctor = workplace("en")
    doctor.sign_in("doctor")
    record = first_patient(doctor)
    expect(doctor.page.locator(".fields").first).to_contain_text("Date of birth")

    doctor.press("Alt+2")
    expect(doctor.page.locator("pre.json")).to_contain_text('"resourceType": "Patient"')
    doctor.press("Alt+t")
    doctor.page.locator("#trial-expression:focus").wait_for()
    doctor.type("Patient.gender")
    doctor.press("Control+Enter")
    expect(doctor.page.locator("#trial-result")).to_contain_text("Result: 1", timeout=TRIAL_MS_MAX)
    assert doctor.page.locator("#trial-record").input_value() == record
    doctor.page.locator("#trial-expression").fill("Patient.name.§")
    doctor.press("Control+Enter")
    expect(doctor.page.locator("#trial-result pre")).to_contain_text(
        "here (character 14)", timeout=TRIAL_MS_MAX
    )


def test_the_search_form_knows_its_parameters(workplace: Callable[..., Any]) -> None:
    """Choosing a parameter brings its ways without a new page; the search is a FHIR address."""
    doctor = workplace("ru")
    doctor.sign_in("doctor")
    doctor.page.goto(doctor.address + "/fhir/Patient?_count=5")
    doctor.page.locator("select[name=n1]").select_option("birthdate")
    expect(doctor.page.locator("select[name=w1] option[value=ge]")).to_have_count(1)
    doctor.page.locator("select[name=w1]").select_option("ge")
    doctor.page.locator("input[name=v1]").fill("1990")
    doctor.press("Enter")
    doctor.page.wait_for_url(re.compile(r"birthdate=ge1990"))

    expect(doctor.page.locator("tr.hit").first).to_be_visible()


def test_a_refused_write_is_told_and_mended(workplace: Callable[..., Any]) -> None:
    """A wrong code comes back in words with its place; mended, it is a version to compare."""
    doctor = workplace("uz")
    doctor.sign_in("doctor")
    record = first_patient(doctor)
    doctor.press("Alt+e")
    box = doctor.page.locator("#edit-json")
    right = box.input_value()
    box.fill(re.sub(r'"gender": "\w+"', '"gender": "ayol"', right))
    doctor.press("Control+Enter")
    expect(doctor.page.locator(".note.bad").first).to_contain_text("Patient.gender")
    box.fill(re.sub(r'"gender": "\w+"', '"gender": "unknown"', right))
    doctor.press("Control+Enter")
    doctor.page.wait_for_url(f"**/fhir/{record}")
    doctor.press("Alt+3")
    doctor.page.wait_for_url("**/_history")
    doctor.press("Alt+c")

    expect(doctor.page.locator("tbody tr")).to_have_count(1)
    expect(doctor.page.locator("ins")).to_have_text("unknown")
    forgive_refusals(doctor)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_reader_obeys_wcag(workplace: Callable[..., Any], theme: str) -> None:
    """axe-core finds no violation of WCAG 2.2 A and AA on any page of the reader."""
    script = axe_script()
    doctor = workplace("ru", theme=theme)
    doctor.sign_in("doctor")
    record = first_patient(doctor)
    paths = ("/fhir", "/fhir/Patient", "/fhir/Patient?birthdate=x", f"/fhir/{record}",
             f"/fhir/{record}?_view=json", f"/fhir/{record}/_history", "/fhir/Patient/none",
             f"/reader/fhirpath?record={record}",
             f"/reader/edit?record={record}")  # fmt: skip  # A list.
    found = {}
    for path in paths:
        doctor.page.goto(doctor.address + path)
        found[path] = violations(doctor, script)
    forgive_refusals(doctor)

    assert {path: rules for path, rules in found.items() if rules} == {}


def test_pictures_of_the_reader(workplace: Callable[..., Any]) -> None:
    """The pages in light and dark, for whoever looks at the build."""
    doctor = workplace("en")
    doctor.sign_in("doctor")
    record = first_patient(doctor)
    made = []
    for name, path in (
        ("reader-base", "/fhir"),
        ("reader-record", f"/fhir/{record}"),
        ("reader-list", "/fhir/Observation?status=final"),
        ("reader-trial", f"/reader/fhirpath?record={record}&expression=Patient.name"),
        ("reader-versions", f"/fhir/{record}/_history"),
    ):
        doctor.page.goto(doctor.address + path)
        made += doctor.pictures(name)

    assert all(path.stat().st_size > 10_000 for path in made)


def test_pages_of_the_reader_are_light(workplace: Callable[..., Any]) -> None:
    """A first visit moves less than 50 KB over the line."""
    doctor = workplace("ru")
    doctor.sign_in("doctor")
    record = first_patient(doctor)
    weights = {}
    for path in ("/fhir", "/fhir/Observation", f"/fhir/{record}"):
        wire = doctor.context.new_cdp_session(doctor.page)
        wire.send("Network.enable")
        wire.send("Network.clearBrowserCache")
        sizes: list[int] = []
        wire.on("Network.loadingFinished",
                lambda event, sizes=sizes: sizes.append(int(event["encodedDataLength"])))
        doctor.page.goto(doctor.address + path)
        doctor.page.wait_for_load_state("networkidle")
        wire.detach()
        weights[path] = sum(sizes)

    assert all(0 < total < PAGE_BYTES_MAX for total in weights.values()), weights
