"""The national guide: its examples are valid, and every demand of its profiles is held."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest
from mutations import Maker, mutate, targets

from dmed.fhir import codec
from dmed.fhir.profile import Catalogue, examine

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "reference" / "uz-core.md"
GUIDES = ("core", "core-next", "integrations")
MARK = "<!-- generated: examples -->"
CLAUSES = {
    "medication-classification-vs": "MedicationDispense.medication binds "
    "medication-classification-vs with strength required; the example gives a text alone",
    "Medication|DocumentReference": "Provenance.target allows Medication and DocumentReference "
    "only; the document workflow signs the Bundle (national-standard.md 10, 4)",
}
"""The clause of the guide that an example breaks, by a word of the issue."""


@pytest.fixture(scope="module")
def guide(shared_data: Path) -> Catalogue:
    """The three parts of the guide, the later over the earlier."""
    folder = shared_data / "uz-core"
    return Catalogue(
        path.read_bytes()
        for part in GUIDES
        for path in sorted((folder / part).glob("*/*.json"))
        if path.parent.name != "examples"
    )


def _claims(resource: object) -> bool:
    meta = getattr(resource, "meta", msgspec.UNSET)
    return bool(getattr(meta, "profile", ()) or ())


def example_table(guide: Catalogue, folder: Path) -> str:
    """The generated part of docs/reference/uz-core.md."""
    lines = [
        "| guide | examples | claim a profile | valid | break a clause |",
        "|---|---|---|---|---|",
    ]
    broken: list[str] = []
    for part in GUIDES:
        count = claims = wrong = 0
        for path in sorted((folder / part / "examples").glob("*.json")):
            resource = codec.decode(path.read_bytes())
            faults = [each for each in examine(resource, guide) if each.severity == "error"]
            count += 1
            claims += _claims(resource)
            wrong += bool(faults)
            for fault in faults:
                [clause] = [said for word, said in CLAUSES.items() if word in fault.diagnostics]
                broken.append(f"| `{path.stem}` | `{fault.expression}` | {clause} |")
        lines.append(f"| {part} | {count} | {claims} | {count - wrong} | {wrong} |")
    return "\n".join(
        [*lines, "", "| example | place | clause of the guide |", "|---|---|---|", *broken]
    )


def test_examples_are_valid_or_listed(guide: Catalogue, shared_data: Path) -> None:
    """Every example keeps its profiles, or the table names the clause of the guide that it breaks.

    Where this fails because examples changed, put the text below the mark of the table.
    """
    made = example_table(guide, shared_data / "uz-core")

    assert TABLE.read_text().partition(MARK)[2].strip() == made


def test_every_demand_of_every_profile_is_held(guide: Catalogue) -> None:
    """A record broken in one required element, slice or binding is refused with the place.

    `left`: without it the value stands outside an open slice, which the guide allows.
    `asks-nothing`: the slice allows any value of its type. Bindings without content here are not
    checked.
    """
    maker = Maker(guide)
    counts: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []
    for url in guide.profiles:
        found = guide.definition(url)
        assert found is not None
        for target in targets(found.root, found.type):
            result = mutate(maker, url, target)
            counts[target.kind, result.verdict] += 1
            if result.verdict in {"passed", "wrong-place"}:
                wrong.append(f"{url} {target.node.id} {target.kind}: {result.said}")
    for (kind, verdict), count in sorted(counts.items()):
        print(f"{kind:8} {verdict:12} {count:5}")
    total = Counter[str]()
    for (_, verdict), count in counts.items():
        total[verdict] += count
    print(f"{len(guide.profiles)} profiles, {total.total()} mutations: {dict(total)}")

    assert wrong == []
    assert total["refused"] >= 1_850
    assert total["not-made"] <= 20
