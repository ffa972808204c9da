"""Persons over a real database: found in any script, registered once, shown whole."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from dmed.kit.errors import NotFoundError, UnprocessableError
from dmed.modules.medid import api


@pytest.mark.parametrize("typed", [
    "Karimova Dilnoza", "dilnoza karimova", "Каримова Дилноза", "Karimova Dilnoza 1992",
    "Karimova 12.03.1992", "Karimo", "4821 0937 5562 4", "4821093755624", "+998 90 123 21 40",
    "901232140", "Dilnoza Botirovna", "Yo'ldosheva Dilnoza Botir qizi",
])  # fmt: skip  # What registrars type.
async def test_a_person_is_found_by_whatever_is_typed(village, typed):
    """Number, phone, name in any script, with a year or a day: the same card comes up."""
    hits = await api.find(village.gateway, village.registrar, typed, 20)

    assert village.people["pregnant"] in [hit.id for hit in hits]


async def test_a_russian_spelling_meets_the_uzbek_one(village):
    """Юлдашева finds both the card written so and the one whose maiden name is Yo‘ldosheva."""
    hits = await api.find(village.gateway, village.registrar, "Юлдашева Дилноза 1992", 20)

    assert {village.people["double"], village.people["pregnant"]} <= {hit.id for hit in hits}


async def test_the_pinfl_finds_its_holder_alone(village):
    """Fourteen digits bring one card, shown with the number masked."""
    found = await village.gateway.get(village.doctor, "Patient", village.people["pregnant"])
    pinfl = next(one["value"] for one in found["identifier"] if one["system"].endswith("/ni"))
    hits = await api.find(village.gateway, village.registrar, f" {pinfl[:7]} {pinfl[7:]} ", 20)

    assert [hit.id for hit in hits] == [village.people["pregnant"]]
    assert hits[0].pinfl.endswith(pinfl[-4:])
    assert pinfl not in hits[0].pinfl


@pytest.mark.parametrize("typed", ["", "   ", "Qzxwvut", "99999999999999", "1992x", "%", "a,b|c\\"])
async def test_nobody_is_found_for_nonsense(village, typed):
    """What means nothing gives an empty list, never an error."""
    assert await api.find(village.gateway, village.registrar, typed, 20) == []


async def test_the_limit_holds(village):
    """At most as many persons as asked for."""
    assert len(await api.find(village.gateway, village.registrar, "a", 3)) <= 3


def _draft(**changes):
    fields = {"family": "Namunaova", "given": "Sinov", "patronymic": "Test qizi",
              "birth_date": "1985-06-07", "sex": "female", "region": "1726",
              "district": "1726266", "address_line": "Bahor ko‘chasi, 5-uy"} | changes
    return api.Draft(**fields)


async def test_a_near_match_is_shown_with_its_differing_letters(village):
    """A second card for Karimova Dilnoza, misheard, is not made before hers was looked at."""
    draft = _draft(family="Каримова", given="Дилноз", patronymic="Ботировна",
                   birth_date="1992-03-12", phone="901232140")
    with pytest.raises(api.NearMatchesError) as refused:
        await api.register(village.gateway, village.registrar, draft)
    match = next(one for one in refused.value.matches if one.hit.id == village.people["pregnant"])
    phone = next(pair for pair in match.fields if pair.field == "phone")

    assert phone.verdict == "same"
    assert not any(span.is_different for pair in match.fields if pair.field == "family"
                   for span in pair.record)


async def test_a_new_person_gets_a_card_and_a_med_id(village):
    """Registration returns the id of a Patient with a sound MED-ID, attached to the clinic."""
    made = await api.register(village.gateway, village.registrar, _draft())
    banner = await api.banner(village.gateway, village.registrar, made, "uz")

    assert banner.name == "Namunaova Sinov Test qizi"
    assert banner.med_id.replace(" ", "").isdecimal()
    assert banner.organisation == "14-oilaviy poliklinika"
    assert "Yunusobod" in banner.address


async def test_the_same_pinfl_shows_its_holder_and_may_be_kept_unverified(village):
    """A collision names the other person; then the number stays, but claims nothing."""
    pinfl = api.compose_pinfl(date(1979, 1, 30), "male", 111, 222)
    one = {"birth_date": "1979-01-30", "sex": "male", "pinfl": pinfl}
    first = await api.register(village.gateway, village.registrar,
                               _draft(family="Birinchiyev", given="Asl", **one))
    second = _draft(family="Ikkinchiyev", given="Boshqa", patronymic="", **one)
    with pytest.raises(api.NumberHeldError) as held:
        await api.register(village.gateway, village.registrar, second)

    assert held.value.holder.id == first

    kept = _draft(family="Ikkinchiyev", given="Boshqa", patronymic="", is_pinfl_unverified=True,
                  **one)
    made = await api.register(village.gateway, village.registrar, kept)
    banner = await api.banner(village.gateway, village.registrar, made, "uz")

    assert not banner.is_pinfl_verified


async def test_a_faulty_draft_is_refused_with_every_fault(village):
    """No name, no sex, no date: all three are told at once and nothing is stored."""
    with pytest.raises(UnprocessableError) as refused:
        await api.register(village.gateway, village.registrar, api.Draft(family="", given=""))

    assert {"Patient.family", "Patient.given", "Patient.sex", "Patient.birth_date"} <= {
        issue.expression for issue in refused.value.issues}


@pytest.mark.parametrize("language", ["uz", "uz-Cyrl", "ru", "en"])
async def test_the_card_speaks_the_readers_script(village, language):
    """The name comes in Cyrillic where the reader reads Cyrillic and the record has it."""
    banner = await api.banner(village.gateway, village.doctor, village.people["pregnant"],
                              language)

    assert banner.name.startswith("К" if language in ("ru", "uz-Cyrl") else "K")


async def test_facts_follow_what_is_entered(village):
    """Weight, allergy, diagnosis and pregnancy are read back as facts for the checks."""
    gateway, doctor = village.gateway, village.doctor
    person = await api.register(gateway, village.registrar,
                                _draft(family="Faktova", given="Ona", birth_date="1996-02-29"))
    await api.add_weight(gateway, doctor, person, Decimal("61.5"))
    await api.add_allergy(gateway, doctor, person, api.NewAllergy(
        text="Amoksitsillin", inn="amoxicillin", atc="J01CA04", reaction="rash"))
    await api.add_diagnosis(gateway, doctor, person, "J20.9", "O‘tkir bronxit")
    await api.add_pregnancy(gateway, doctor, person, 12)
    facts = await api.facts(gateway, doctor, person)

    assert facts.weight_kg == Decimal("61.5")
    assert [(one.inn, one.atc) for one in facts.allergies] == [("amoxicillin", "J01CA04")]
    assert facts.pregnancy_weeks == 12
    assert {"J20.9", "Z34.9"} == {one.code for one in facts.diagnoses}
    assert facts.sex == "female"


async def test_wrong_entries_are_refused(village):
    """A man is not pregnant, nobody weighs a ton, a code is a code, a card must exist."""
    gateway, doctor, man = village.gateway, village.doctor, village.people["angina"]
    with pytest.raises(UnprocessableError):
        await api.add_pregnancy(gateway, doctor, man, 12)
    with pytest.raises(UnprocessableError):
        await api.add_weight(gateway, doctor, man, Decimal(1000))
    with pytest.raises(UnprocessableError):
        await api.add_diagnosis(gateway, doctor, man, "bronxit", "Bronxit")
    with pytest.raises(NotFoundError):
        await api.add_weight(gateway, doctor, "000-00000000000000000000", Decimal(60))


async def test_the_slip_is_a_pdf(village):
    """The registration slip can be printed in each language."""
    made = await api.slip_pdf(village.gateway, village.registrar, village.people["chronic"], "ru")

    assert made.startswith(b"%PDF")
