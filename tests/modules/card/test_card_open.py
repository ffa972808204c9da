"""The card over a real database: every part of it, with sources, in every language."""

from __future__ import annotations

import pytest

from dmed.fhir import codec, validate
from dmed.kit.errors import ConflictError, InvalidError, NotFoundError
from dmed.modules.card import api
from dmed.trust.model import Role, Subject


def _mother(village):
    person = village.people["pregnant"]
    return Subject(user="citizen-of-card", role=Role.CITIZEN, patient=person, name="Dilnoza",
                   purpose="PATRQT", session="test")


async def test_the_card_of_the_pregnant_woman_tells_her_story(village):
    """Allergy, diagnoses, a haemoglobin that falls with its band, and from where each is."""
    card = await api.open_card(village.gateway, village.doctor, village.people["pregnant"], "uz")
    haemoglobin = next(one for one in card.results if one.code == "718-7")

    assert [(one.code, one.tone) for one in card.allergies] == [("J01C", "bad")]
    assert {"O99.0", "I83.9", "Z34.9"} <= {one.code for one in card.problems}
    assert (haemoglobin.latest, haemoglobin.flag) == ("98", "L")
    assert len(haemoglobin.points) > 3
    assert haemoglobin.low is not None
    assert card.course.entries[0].when >= card.course.entries[-1].when
    assert all(one.source.institution and one.source.author for one in card.problems)
    assert haemoglobin.source.institution
    assert haemoglobin.source.author


@pytest.mark.parametrize(("tab", "language"), [
    *((tab, "uz") for tab in api.TABS),
    *(("summary", language) for language in ("uz-Cyrl", "ru", "en"))])
async def test_every_part_opens_in_every_language(village, tab, language):
    """No part and no language fails; the name comes in the reader's script."""
    card = await api.open_card(
        village.gateway, village.doctor, village.people["pregnant"], language, tab)

    assert card.tab == tab
    assert card.banner.name.startswith("К" if language in ("ru", "uz-Cyrl") else "K")


async def test_what_is_coded_is_read_in_the_readers_language(village):
    """Diagnoses, medicines, results and vaccines come in Russian for a Russian reader."""
    card = await api.open_card(village.gateway, village.doctor, village.people["pregnant"], "ru")
    words = [card.problems[0].text, card.medicines[0].text, card.results[0].text,
             card.vaccinations[0].text, card.course.entries[0].text]

    assert [word for word in words if not any("а" <= letter <= "я" for letter in word.lower())
            ] == []


async def test_a_part_that_is_none_and_a_page_that_is_none_are_refused(village):
    """An unknown part is not found; a moment that no page names is a bad request."""
    gateway, doctor, person = village.gateway, village.doctor, village.people["pregnant"]
    with pytest.raises(NotFoundError):
        await api.open_card(gateway, doctor, person, "uz", "secrets")
    with pytest.raises(InvalidError):
        await api.open_card(gateway, doctor, person, "uz", "timeline", "yesterday")
    with pytest.raises(NotFoundError):
        await api.open_card(gateway, doctor, "000-00000000000000000000", "uz")
    with pytest.raises(NotFoundError):
        await api.history(gateway, doctor, person, "no-such-code", "uz")


async def test_pages_of_the_timeline_lose_and_repeat_nothing(village, monkeypatch):
    """Small pages read one after the other hold exactly what one large page holds."""
    from dmed.modules.card import service

    gateway, doctor, person = village.gateway, village.doctor, village.people["chronic"]
    monkeypatch.setattr(service, "PAGE", 1_000)
    whole = await api.open_card(gateway, doctor, person, "uz", "timeline")
    monkeypatch.setattr(service, "PAGE", 7)
    seen, until, pages = [], "", 0
    while True:
        page = (await api.open_card(gateway, doctor, person, "uz", "timeline", until)).course
        seen += [one.reference for one in page.entries]
        pages, until = pages + 1, page.until
        if not until:
            break

    assert pages > 3
    assert whole.course.until == ""
    assert seen == [one.reference for one in whole.course.entries]


async def test_a_registrar_sees_the_person_and_nothing_of_health(village):
    """The same use case gives a registrar the banner and the household alone."""
    card = await api.open_card(
        village.gateway, village.registrar, village.people["pregnant"], "uz", "social")

    assert card.banner.name
    assert card.social.address
    assert (card.problems, card.allergies, card.results, card.conflicts) == ((), (), (), ())


async def test_one_measurement_tells_every_value_with_its_source(village):
    """The history of haemoglobin is in order and each value says who wrote it."""
    _, series = await api.history(
        village.gateway, village.doctor, village.people["pregnant"], "718-7", "en")

    assert [one.when for one in series.points] == sorted(one.when for one in series.points)
    assert all(one.source.institution for one in series.points)


@pytest.mark.parametrize("language", ["uz", "ru", "en"])
async def test_the_summary_is_a_valid_document(village, language):
    """The IPS passes our validator, begins with its Composition and resolves every entry."""
    body = await api.summary(village.gateway, village.doctor, village.people["pregnant"],
                             language, "http://here/fhir")
    bundle = codec.decode(body, "Bundle")
    composition = bundle.entry[0].resource
    urls = {one.fullUrl for one in bundle.entry}
    named = [one.reference for section in composition.section
             for one in (section.entry if isinstance(section.entry, list) else [])]
    sections = {one.code.coding[0].code for one in composition.section}

    assert [one for one in validate.validate(bundle) if one.severity in ("error", "fatal")] == []
    assert bundle.type == "document"
    assert {"11450-4", "48765-2", "10160-0", "11369-6", "30954-2", "47519-4",
            "46264-8"} <= sections
    assert [one for one in named if f"http://here/fhir/{one}" not in urls] == []
    assert len(urls) == len(bundle.entry)


async def test_the_summary_on_paper(village):
    """The same card prints as PDF in each script."""
    for language in ("uz-Cyrl", "en"):
        made = await api.card_pdf(
            village.gateway, village.doctor, village.people["pregnant"], language)

        assert made.startswith(b"%PDF")


async def test_a_person_disputes_an_entry_and_a_doctor_answers(village):
    """The entry stays, is marked, cannot be disputed twice, and the answer closes the matter."""
    gateway, doctor, person = village.gateway, village.doctor, village.people["pregnant"]
    mother = _mother(village)
    card = await api.open_card(gateway, mother, person, "uz")
    about = next(one.reference for one in card.problems if one.code == "I83.9")
    with pytest.raises(InvalidError):
        await api.dispute(gateway, mother, person, about, " a ")
    await api.dispute(gateway, mother, person, about, "Menda bunday kasallik yo‘q")
    with pytest.raises(ConflictError):
        await api.dispute(gateway, mother, person, about, "Yana bir marta")
    seen = await api.open_card(gateway, doctor, person, "uz")
    said = seen.dispute_of(about)

    assert said is not None
    assert said.is_open
    assert said.said == "Menda bunday kasallik yo‘q"

    assert await api.answer_dispute(gateway, doctor, person, said.id, "UTT bilan tasdiqlangan")
    assert not await api.answer_dispute(gateway, doctor, person, "no-such-thing", "Javob")
    answered = (await api.open_card(gateway, mother, person, "uz")).dispute_of(about)

    assert answered is not None
    assert not answered.is_open
    assert answered.answer == "UTT bilan tasdiqlangan"


async def test_nobody_disputes_anothers_entry(village):
    """An entry of another card is not found, whoever asks."""
    gateway = village.gateway
    other = await api.open_card(gateway, village.doctor, village.people["chronic"], "uz")
    with pytest.raises(NotFoundError):
        await api.dispute(gateway, _mother(village), village.people["pregnant"],
                          other.problems[0].reference, "Bu meniki emas")
    with pytest.raises(NotFoundError):
        await api.dispute(gateway, _mother(village), village.people["pregnant"],
                          "Patient/1", "Bu meniki emas")
