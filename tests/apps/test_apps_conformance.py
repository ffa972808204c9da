"""`dmed conformance` and `dmed fhirpath`: strict readers, honest counts, a page that holds."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from dmed.apps.cli import main
from dmed.apps.conformance import running as conformance
from dmed.apps.conformance.model import Verdict
from dmed.kit.errors import InvalidError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "conformance.md"
_TESTS = '<tests xmlns="http://hl7.org/fhirpath/tests"><group name="g">{}</group></tests>'
_PATIENT = '<Patient xmlns="http://hl7.org/fhir">{}</Patient>'


@cache
def verdicts(folder: Path) -> dict[str, list[Verdict]]:
    """All suites of a folder, run once."""
    return conformance.find_all(folder)


def fhirpath_suite(folder: Path, *cases: str) -> Path:
    """A suite of these cases, with one input."""
    (folder / "input").mkdir()
    (folder / "input" / "p.xml").write_text(
        _PATIENT.format('<name><given value="A"/><given value="B"/></name><gender value="male"/>')
    )
    (folder / "tests-any.xml").write_text(_TESTS.format("".join(cases)))
    return folder


def case(expression: str, *outputs: tuple[str, str], invalid: str = "", more: str = "") -> str:
    """One case on the input."""
    fault = f' invalid="{invalid}"' if invalid else ""
    wanted = "".join(f'<output type="{kind}">{text}</output>' for kind, text in outputs)
    return (
        f'<test name="t" inputfile="p.xml" {more}><expression{fault}>{expression}</expression>'
        f"{wanted}</test>"
    )


@pytest.mark.parametrize(
    ("given", "passes"),
    [
        (case("name.given", ("string", "A"), ("string", "B")), True),
        (case("name.given", ("string", "B"), ("string", "A")), False),
        (case("name.given", ("string", "B"), ("string", "A"), more='ordered="false"'), True),
        (case("name.given", ("string", "A")), False),
        (case("gender", ("code", "male")), True),
        (case("gender", ("string", "male")), False),
        (case("1.50", ("decimal", "1.5")), False),
        (case("1 +", invalid="syntax"), True),
        (case("1 +", invalid="semantic"), False),
        (case("1 +", invalid="true"), True),
        (case("name.given.single()", invalid="execution"), True),
        (case("name.given", invalid="execution"), False),
        (case("name.given", ("boolean", "true"), more='predicate="true"'), True),
        (case("name.suffix", ("boolean", "false"), more='predicate="true"'), True),
        (case("1").replace("p.xml", "../p.xml"), False),
    ],
)
def test_fhirpath_cases_are_judged_strictly(given: str, passes: bool, tmp_path: Path) -> None:
    """Values, types, order, digits and the kind of fault all count."""
    [found] = conformance.SUITES["fhirpath"](fhirpath_suite(tmp_path, given))

    assert found.passed is passes, found.reason


def test_patch_cases_are_judged_strictly(tmp_path: Path) -> None:
    """A result that differs, a patch that should be refused and one that should not all fail."""
    cases = [
        {"doc": {"a": 1}, "patch": [{"op": "add", "path": "/b", "value": 2.50}]},
        {"doc": [1, 2], "patch": [{"op": "remove", "path": "/0"}], "expected": [1]},
        {"doc": {}, "patch": [{"op": "remove", "path": "/x"}], "error": "no x"},
        {"doc": {}, "patch": [{"op": "remove", "path": "/x"}], "expected": {}},
        {"doc": {}, "patch": [{"op": "add", "path": "/x", "value": 1}], "error": "refuse it"},
    ]
    cases[0]["expected"] = {"b": 2.50, "a": 1}
    (tmp_path / "tests.json").write_text(json.dumps(cases))
    found = list(conformance.SUITES["json-patch"](tmp_path))

    assert [each.passed for each in found] == [True, False, True, False, False]


def test_validator_cases_are_judged_by_verdict_and_place(tmp_path: Path) -> None:
    """Agreement needs the same verdict and, with errors, a place in common."""
    sound = {"resourceType": "Patient", "active": True}
    (tmp_path / "sound.json").write_text(json.dumps(sound))
    (tmp_path / "bad.json").write_text(json.dumps({**sound, "gender": "unheard"}))
    (tmp_path / "bad.xml").write_text(_PATIENT.format('<colour value="red"/>'))

    def java(*lines: str) -> dict[str, object]:
        return {"errorCount": len(lines), "output": list(lines)}

    manifest = {"test-cases": [
        {"name": "a", "file": "sound.json", "java": java()},
        {"name": "b", "file": "sound.json", "java": java("ERROR: Patient.name: x")},
        {"name": "c", "file": "bad.json", "java": java()},
        {"name": "d", "file": "bad.json", "java": java("ERROR: Patient.gender: x")},
        {"name": "e", "file": "bad.json", "java": java("ERROR: Patient.name[0]: x")},
        {"name": "f", "file": "bad.xml", "java": java("ERROR: /f:Patient: x")},
        {"name": "off", "file": "bad.json", "java": java(), "use-test": False},
        {"name": "untold", "file": "bad.json"},
    ]}  # fmt: skip  # A table of cases.
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    found = {each.case: each.passed for each in conformance.SUITES["validator"](tmp_path)}

    assert found == {"a": True, "b": False, "c": False, "d": True, "e": False, "f": True}


def test_the_command_counts_and_tells(tmp_path: Path) -> None:
    """The last line is `passed total`, failing cases stand before it, the status tells."""
    (tmp_path / "all").mkdir()
    (tmp_path / "some").mkdir()
    good, bad = case("1", ("integer", "1")), case("1", ("integer", "2"))
    run = CliRunner().invoke
    every = run(main, ["conformance", "fhirpath", str(fhirpath_suite(tmp_path / "all", good))])
    some = run(main, ["conformance", "fhirpath", str(fhirpath_suite(tmp_path / "some", good, bad))])
    none = run(main, ["conformance", "validator", str(tmp_path)])

    assert (every.exit_code, every.output) == (0, "1 1\n")
    assert some.exit_code == 1
    assert some.output.splitlines() == ["FAIL g/t: gives integer 1, wanted integer 2", "1 2"]
    assert none.exit_code == 1
    assert "manifest.json" in none.output


@pytest.mark.parametrize("suite", sorted(conformance.SUITES))
def test_a_folder_without_the_suite_is_refused(suite: str, tmp_path: Path) -> None:
    """An empty folder is no suite that passes."""
    with pytest.raises(InvalidError):
        list(conformance.SUITES[suite](tmp_path))


def test_published_suites(shared_data: Path) -> None:
    """The floors hold: 99 % of FHIRPath, every patch; what we refuse of FHIRPath has a reason."""
    found = verdicts(shared_data / "conformance")
    share = {suite: sum(v.passed for v in each) / len(each) for suite, each in found.items()}
    failing = {each.case for each in found["fhirpath"] if not each.passed}

    assert share["fhirpath"] >= 0.99
    assert share["fhirpath-patch"] == share["json-patch"] == 1
    assert share["validator"] >= 0.9
    assert failing <= conformance.reasons()["fhirpath"].keys()


def test_the_page_promises_no_more_than_holds(shared_data: Path) -> None:
    """docs/reference/conformance.md is what `dmed conformance all --write` makes."""
    text = PAGE.read_text()
    told = re.findall(r"^\| ([\w-]+) \| (\d+) \| (\d+) \|", text, re.MULTILINE)
    rows = {suite: (int(passed), int(total)) for suite, passed, total in told}
    for suite, every in verdicts(shared_data / "conformance").items():
        passed, total = rows[suite]

        assert total == len(every)
        assert passed <= sum(each.passed for each in every), "run `dmed conformance all --write`"
    assert "NOT REVIEWED" not in text


def test_fhirpath_on_the_command_line(tmp_path: Path) -> None:
    """JSON and XML give the same lines; a wrong expression and a wrong record end with 1."""
    (tmp_path / "p.json").write_text('{"resourceType":"Patient","birthDate":"1990-05-17"}')
    (tmp_path / "p.xml").write_text(_PATIENT.format('<birthDate value="1990-05-17"/>'))
    (tmp_path / "n.json").write_text('{"family":"Karimova"}')
    run = CliRunner().invoke
    for name in ("p.json", "p.xml"):
        expression = "birthDate.trace('t') | 4.50 'mg' | 1.0"
        told = run(main, ["fhirpath", expression, str(tmp_path / name)])

        assert told.exit_code == 0
        assert told.stdout == "date \"1990-05-17\"\nSystem.Quantity 4.50 'mg'\nSystem.Decimal 1.0\n"
        assert 'trace t: date "1990-05-17"' in told.stderr
    part = run(main, ["fhirpath", "family", str(tmp_path / "n.json"), "--type", "HumanName"])
    piped = run(main, ["fhirpath", "1 + 1", "-"], input='{"resourceType":"Patient"}')
    wrong = run(main, ["fhirpath", "birthDate +", str(tmp_path / "p.json")])
    unread = run(main, ["fhirpath", "id", str(tmp_path / "n.json")])

    assert part.stdout == 'string "Karimova"\n'
    assert piped.stdout == "System.Integer 2\n"
    assert wrong.exit_code == unread.exit_code == 1
    assert "at 11" in wrong.stderr
