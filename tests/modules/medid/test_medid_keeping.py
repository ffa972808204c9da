"""What becomes of a card: registered without a name, corrected, attached, closed; its history."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.kit import clock
from dmed.kit.errors import ConflictError, NotFoundError, PreconditionError, UnprocessableError
from dmed.modules.medid import api, rules
from dmed.modules.medid.rules import documents, drafts, keeping, reading, spelling
from dmed.modules.medid.service import acts, printing, review

WHY = "the document was seen"
TODAY = date(2026, 11, 23)


def draft(**changes: Any) -> api.Draft:
    """Somebody to be registered."""
    fields = {"family": "Saqlanov", "given": "Sinov", "patronymic": "Test o‘g‘li",
              "birth_date": "1971-02-03", "sex": "male", "region": "1726",
              "district": "1726266", "address_line": "Bog‘ ko‘chasi, 1-uy"} | changes
    return api.Draft(**fields)


async def registered(village: Any, **changes: Any) -> str:
    """The id of a new card, whoever is like it."""
    made = draft(**changes)
    matches = await api.near_matches(village.gateway, village.registrar, made)
    return await api.register(village.gateway, village.registrar, made,
                              despite=tuple(one.hit.id for one in matches))


async def card(village: Any, person: str) -> dict[str, Any]:
    """The card as it stands."""
    found: dict[str, Any] = await village.gateway.get(village.registrar, "Patient", person)
    return found


# Rules ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "key"), [
    ({"given": "K"}, "medid.check.name-short"),
    ({"given": "Dilnoza😀"}, "medid.check.name-letters"),
    ({"family": "Karim<b>"}, "medid.check.name-letters"),
    ({"family": "Каримoв"}, "medid.check.name-mixed"),
    ({"family": "Жyраев🙂"}, "medid.check.name-letters"),
    ({"family": "山田"}, "medid.check.name-script"),
    ({"birth_date": "2027-01-01"}, "medid.check.birth-future"),
    ({"birth_date": "1871-01-01"}, "medid.check.birth-too-old"),
    ({"pinfl": "99999999999999"}, "medid.check.pinfl-form"),
    ({"pinfl": "33002710000000"}, "medid.check.pinfl-form"),
    ({"category": "newborn", "mother": "x"}, "medid.check.newborn-old"),
    ({"category": "newborn", "birth_date": "2026-11-20"}, "medid.check.mother-missing"),
    ({"category": "foreigner"}, "medid.check.country-missing"),
    ({"document_kind": "passport", "document": "12345"}, "medid.check.passport-form"),
    ({"document_kind": "passport-foreign", "document": "N123456", "country": "UZ"},
     "medid.check.document-country"),
    ({"document": "AA1234567"}, "medid.check.document-kind"),
])  # fmt: skip  # A table.
def test_bad_input_is_told_in_a_sentence(changes: dict[str, str], key: str) -> None:
    """One letter, pictures, mixed scripts, impossible numbers: an error with its own words."""
    found = drafts.check(draft(**changes), TODAY)

    assert key in {one.key for one in found if one.severity == "error"}


@pytest.mark.parametrize(("typed", "right"), [
    ("Каримoв", "Каримов"), ("Kаrimov", "Karimov"), ("Юлдaшeвa", "Юлдашева"),
    ("O‘ktаm", "O‘ktam"), ("Karimov-Каримов", "Karimov-Каримов"), ("Anvar", "Anvar"),
])  # fmt: skip  # A table.
def test_look_alike_letters_are_straightened(typed: str, right: str) -> None:
    """A word gets the script of its other letters; two words may be of two scripts."""
    assert spelling.straighten(typed) == right


@given(st.text(max_size=20))
@settings(max_examples=60)
def test_no_name_breaks_the_check(text: str) -> None:
    """Whatever is typed, sentences come back and straightening ends; a second time changes
    nothing.
    """
    assert isinstance(spelling.faults(text), list)
    once = spelling.straighten(text)
    assert spelling.straighten(once) == once
    assert len(once) == len(text)


@given(st.dates(date(1900, 1, 1), date(2099, 12, 31)), st.sampled_from(["male", "female"]),
       st.integers(0, 999), st.integers(0, 999))
@settings(max_examples=60)
def test_a_pinfl_tells_birth_date_and_sex(born: date, sex: str, area: int, serial: int) -> None:
    """What it is composed of is read back; one wrong digit is a warning, never silence."""
    value = api.compose_pinfl(born, sex, area, serial)
    told = api.read_pinfl(value)
    assert told is not None
    assert (told.birth_date, told.sex, told.is_check_right) == (born, sex, True)
    other = drafts.check(draft(pinfl=value, birth_date="1971-02-04", sex=sex), TODAY)
    assert "medid.check.pinfl-birth" in {one.key for one in other} or born == date(1971, 2, 4)


@pytest.mark.parametrize("kind", documents.KINDS, ids=lambda kind: kind.code)
def test_every_kind_of_document_is_known_again(kind: documents.Kind) -> None:
    """The system that is written leads back to the kind."""
    made = documents.identifier(kind.code, "AA1234567", country="kz", org="123456789")

    assert documents.kind_of(made["system"]) == kind.code
    assert "{" not in made["system"]


def test_a_clinic_is_chosen_once_a_year() -> None:
    """Within a year only an exception changes it; the refusal says since when and until when."""
    since = TODAY - timedelta(days=100)
    patient = keeping.attach({"id": "x"}, "a", "A", since)
    refused = keeping.check_attachment(patient, "b", "", TODAY)

    assert [one.key for one in refused] == ["medid.attach.once-a-year"]
    assert refused[0].values["until"] == f"{since + timedelta(days=365):%d.%m.%Y}"
    assert keeping.check_attachment(patient, "b", "moved", TODAY) == []
    assert keeping.check_attachment(patient, "b", "", since + timedelta(days=365)) == []
    assert keeping.check_attachment({"id": "x"}, "b", "", TODAY) == []
    assert [one.key for one in keeping.check_attachment(patient, "a", "", TODAY)] == [
        "medid.attach.same"]


# On the database --------------------------------------------------------------------------------


async def test_a_newborn_hangs_on_the_mother(village: Any) -> None:
    """Without a name, with the mother's surname and address, and she is written as the mother;
    the name comes later and the first stays as a former one.
    """
    mother = await registered(village, family="Onayeva", given="Mehri", sex="female",
                              birth_date="1996-05-05", patronymic="")
    born = clock.today() - timedelta(days=2)
    child = await registered(village, category="newborn", mother=mother, family="", given="",
                             patronymic="", birth_date=born.isoformat(), sex="female")
    found = await card(village, child)
    kin = await acts.relatives(village.gateway, village.registrar, child)

    assert found["name"][0]["use"] == "temp"
    assert found["name"][0]["family"] == "Onayeva"
    assert found["address"][0]["line"] == ["Bog‘ ko‘chasi, 1-uy"]
    assert [coding["code"] for coding in kin[0]["relationship"][0]["coding"]] == ["NOK", "MTH"]
    assert reading.identifier(kin[0], rules.MED_ID_SYSTEM)[0]
    await acts.correct(village.gateway, village.registrar, child,
                       msgspec.structs.replace(keeping.draft_of(found), given="Lola"), WHY)
    named = await card(village, child)
    assert [(one["use"], one.get("given")) for one in named["name"]] == [
        ("official", ["Lola"]), ("old", None)]


async def test_an_unknown_patient_gets_a_card_and_a_band(village: Any) -> None:
    """Nothing is known: a card with a MED-ID, a temporary number and a band for the wrist."""
    made = await registered(village, category="unknown", family="", given="", patronymic="",
                            birth_date="", sex="male", region="", district="", address_line="")
    found = await card(village, made)

    assert found["name"][0]["use"] == "anonymous"
    assert {documents.kind_of(one["system"]) for one in found["identifier"]} == {"hc", "unknown"}
    assert "birthDate" not in found
    for language in ("uz", "uz-Cyrl", "ru", "en"):
        band = await printing.wristband_pdf(village.gateway, village.registrar, made, language)
        assert band.startswith(b"%PDF")


async def test_a_foreigner_has_a_passport_of_his_country(village: Any) -> None:
    """No PINFL is asked for; the passport stands in the system of its country."""
    made = await registered(village, category="foreigner", family="Serikov", given="Nurlan",
                            country="kz", document_kind="passport-foreign", document="n 12345678")
    found = await card(village, made)

    passport = next(one for one in found["identifier"] if one["system"].endswith("/kz/ppn"))
    assert passport["value"] == "N12345678"
    assert found["extension"][0]["url"].endswith("patient-citizenship")


async def test_a_correction_keeps_what_was(village: Any) -> None:
    """Married name, new address, new phone: the old ones stay as former, with their end; the
    history tells all of them; a stale form is refused; a correction needs a reason.
    """
    person = await registered(village, family="Qizova", given="Barno", sex="female",
                              phone="901112233")
    before = await card(village, person)
    changed = msgspec.structs.replace(
        keeping.draft_of(before), family="Erova", address_line="Yangi ko‘cha, 5-uy",
        phone="+998904445566")
    version = int(before["meta"]["versionId"])
    fields = await acts.correct(village.gateway, village.registrar, person, changed, WHY, version)
    after = await card(village, person)

    assert set(fields) == {"family", "address_line", "phone"}
    assert [one["use"] for one in after["name"]] == ["official", "old"]
    assert after["name"][1]["period"]["end"] == clock.today().isoformat()
    assert [one["use"] for one in after["address"]] == ["home", "old"]
    told = await acts.history(village.gateway, village.registrar, person)
    names = {(one.text.split()[0], one.use) for one in told if one.kind == "name"}
    assert names >= {("Erova", "official"), ("Qizova", "old"), ("Qizova", "official")}
    with pytest.raises(PreconditionError):
        await acts.correct(village.gateway, village.registrar, person, changed, WHY, version)
    with pytest.raises(UnprocessableError):
        await acts.correct(village.gateway, village.registrar, person, changed, "-")
    assert await acts.correct(village.gateway, village.registrar, person, changed, WHY) == []


async def test_the_history_of_a_plain_write_is_told_too(village: Any) -> None:
    """A name that another system replaced outright is still in the history, with its end."""
    person = await registered(village, family="Eskiyev", given="Hamid")
    found = await card(village, person)
    found["name"] = [{"use": "official", "family": "Yangiyev", "given": ["Hamid"]}]
    await village.gateway.update(village.registrar, "Patient", person, found)
    told = await acts.history(village.gateway, village.registrar, person)
    old = next(one for one in told if one.text.startswith("Eskiyev"))

    assert old.until != ""
    assert next(one for one in told if one.text.startswith("Yangiyev")).until == ""


async def test_a_new_passport_makes_the_old_one_former(village: Any) -> None:
    """One of a kind is in force; the same typed with Cyrillic look-alikes is the same."""
    person = await registered(village, family="Pasportov", document_kind="passport",
                              document="AA7654321")
    await acts.add_document(village.gateway, village.registrar, person, "passport", "АB 1111111")
    found = await card(village, person)
    uses = {one["value"]: one["use"] for one in found["identifier"] if "ppn" in one["system"]}

    assert uses == {"AA7654321": "old", "AB1111111": "official"}
    with pytest.raises(UnprocessableError):
        await acts.add_document(village.gateway, village.registrar, person, "passport", "")


async def test_the_end_and_its_taking_back(village: Any) -> None:
    """A death lies between birth and today, can be taken back; a closed card is opened again."""
    person = await registered(village, family="Umrov")
    gateway, who = village.gateway, village.registrar
    for day in ("soon", "1970-01-01", (clock.today() + timedelta(days=1)).isoformat()):
        with pytest.raises(UnprocessableError):
            await acts.note_death(gateway, who, person, day, WHY)
    await acts.note_death(gateway, who, person, clock.today().isoformat(), WHY)
    assert (await card(village, person))["deceasedDateTime"] == clock.today().isoformat()
    await acts.take_back_death(gateway, who, person, WHY)
    await acts.close(gateway, who, person, WHY)
    closed = await card(village, person)
    assert "deceasedDateTime" not in closed
    assert closed["active"] is False
    await acts.reopen(gateway, who, person, WHY)

    assert (await card(village, person))["active"] is True


async def test_family_is_written_once_and_ends(village: Any) -> None:
    """A father is older and a man; a guardian has a paper; twice is a conflict; an end stays."""
    gateway, who = village.gateway, village.registrar
    father = await registered(village, family="Otayev", birth_date="1960-01-01")
    son = await registered(village, family="Otayev", given="Ogil", birth_date="1990-01-01")
    made = await acts.relate(gateway, who, son, father, "FTH")
    for kin, role in ((son, "FTH"), (father, "MTH"), (father, "GUARD"), (father, "KING")):
        with pytest.raises(UnprocessableError):
            await acts.relate(gateway, who, son, kin, role)
    with pytest.raises(UnprocessableError):
        await acts.relate(gateway, who, father, son, "FTH")
    with pytest.raises(ConflictError):
        await acts.relate(gateway, who, son, father, "FTH")
    await acts.relate(gateway, who, son, father, "GUARD", "Qaror 12, 01.02.2026")
    await acts.unrelate(gateway, who, son, made, WHY)
    with pytest.raises(NotFoundError):
        await acts.unrelate(gateway, who, father, made, WHY)
    found = await acts.relatives(gateway, who, son)

    assert [one["active"] for one in found] == [True, False]


async def test_attachment_on_the_database(village: Any) -> None:
    """Attached at registration, so another clinic within the year takes an exception."""
    gateway, who = village.gateway, village.registrar
    person = await registered(village, family="Birikov")
    clinic = (await gateway.create(village.admin, "Organization", {
        "resourceType": "Organization", "active": True, "name": "Boshqa poliklinika"})).id
    with pytest.raises(UnprocessableError):
        await acts.attach(gateway, who, person, clinic)
    await acts.attach(gateway, who, person, clinic, "moved")
    now = keeping.attachment(await card(village, person))

    assert (now.organisation, now.name) == (clinic, "Boshqa poliklinika")
    assert now.since == clock.today()


async def test_what_was_put_aside_comes_up_for_review(village: Any) -> None:
    """A card made despite a near match waits for a second look; the decision ends the question."""
    gateway, who = village.gateway, village.registrar
    one = await registered(village, family="Juftov", given="Ali", phone="907778899")
    other = await registered(village, family="Жуфтов", given="Али", phone="907778899")
    found = await review.queue(gateway, who)
    pair = next(row for row, _, _ in found.rows if {row.first, row.second} == {one, other})
    asked = await review.question(gateway, who, pair.number)
    family = next(row for row in asked.comparison.rows if row.field == "family")

    assert pair.origin == "registration"
    assert family.verdict == "same"
    assert family.reasons
    made = await review.merge_pair(gateway, who, pair.number, other, one, WHY)
    with pytest.raises(ConflictError):
        await review.say_distinct(gateway, who, pair.number, WHY)
    assert made > 0
    assert pair.number not in {row.number for row, _, _ in (
        await review.queue(gateway, who)).rows}


async def test_two_persons_are_not_asked_about_again(village: Any) -> None:
    """After "two persons" the same pair is not put up again."""
    gateway, who = village.gateway, village.registrar
    one = await registered(village, family="Egizov", given="Hasan")
    other = await registered(village, family="Egizov", given="Husan", birth_date="1972-02-03")
    await review.propose(gateway, who, [(one, other)], "person")
    pair = next(row for row, _, _ in (await review.queue(gateway, who)).rows
                if {row.first, row.second} == {one, other})
    with pytest.raises(UnprocessableError):
        await review.say_distinct(gateway, who, pair.number, "")
    await review.say_distinct(gateway, who, pair.number, "twins, both documents seen")
    await review.propose(gateway, who, [(other, one)], "batch")

    assert pair.number not in {row.number for row, _, _ in (
        await review.queue(gateway, who)).rows}
