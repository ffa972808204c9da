"""Passwords: which are refused and why, the list of stolen ones, and the change by oneself."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from dmed.kit.errors import ForbiddenError, InvalidError, ThrottledError, UnauthorizedError
from dmed.kit.settings import Settings
from dmed.store.pool import Database
from dmed.trust import people_tables
from dmed.trust.common_passwords import RangeFiles, fault_of
from dmed.trust.identity import REMEMBERED, Account, Identity
from dmed.trust.keys import load_keys
from dmed.trust.model import Role
from dmed.trust.passwords import MIN_CHARACTERS

OLD = "ko'k daryo bo'yida 7"
NEW = "uchta sariq tulpor!"


@pytest.mark.parametrize(("password", "fault"), [
    ("Password2026", "words"), ("P@ssw0rd!!", "words"), ("Toshkent-1990", "words"),
    ("parolparol1!", "words"), ("doctor-demo1", "words"), ("21.08.1990!!", "words"),
    ("998914408213", "words"), ("Karimova1990", "own"), ("malika_karimova", "own"),
    ("qwertyuiop", "row"), ("1234567890", "row"), ("zxcvbnm,123", "row"), ("йцукенгшщз", "row"),
    ("realmadrid", "guessed"), ("strawberry", "guessed"), ("1qaz2wsx3edc", "guessed"),
    ("manchester1", "guessed"), ("aaaaaaaaaaaa", "repeats"),
    ("abcabcabcabc", "repeats"), ("1212121212", "repeats"),
    ("uchta sariq tulpor", ""), ("Zg7!kkw-Lp2x", ""), ("correct horse battery staple", ""),
    ("salom doctor hello computer", ""), ("тихая река за домом", "")])
def test_what_others_try_first_is_refused(password: str, fault: str) -> None:
    """Words however dressed up, own names, rows, repetitions; sentences are good."""
    assert fault_of(password, ("malika", "Karimova Malika", "14-son poliklinika")) == fault


@given(st.text(min_size=10, max_size=200))
@examples(max_examples=200, deadline=None)
def test_any_text_is_judged(password: str) -> None:
    """No text breaks the rule or makes it slow."""
    assert fault_of(password, (password, "x")) in {"", "words", "own", "row", "repeats", "guessed"}


def test_the_commonest_passwords_are_all_refused() -> None:
    """Each of the 30,000 commonest that is long enough for us."""
    common = [each for each in FREQUENCY_LISTS["passwords"] if len(each) >= MIN_CHARACTERS]
    assert len(common) > 1_000
    assert [each for each in common if not fault_of(each)] == []


def test_stolen_passwords_are_looked_up_by_range(tmp_path: Path) -> None:
    """The range file of the first five signs names it, in either case; a count of 0 is padding."""
    digest = hashlib.sha1(NEW.encode(), usedforsecurity=False).hexdigest().upper()
    other = hashlib.sha1(OLD.encode(), usedforsecurity=False).hexdigest()
    (tmp_path / f"{digest[:5]}.txt").write_text(f"{'0' * 35}:3\r\n{digest[5:]}:12\r\n")
    (tmp_path / other[:5].upper()).write_text(f"{other[5:]}:0\n")
    listed = RangeFiles(tmp_path)

    assert [listed.knows(each) for each in (NEW, OLD, "another one")] == [True, False, False]


async def test_a_person_changes_the_own_password(identity: Identity) -> None:
    """The old one is asked for; other sessions end, this one stays; the old one opens nothing."""
    await identity.save(Account(user="lola", role=Role.REGISTRAR, name="Lola Umarova"), OLD)
    here = await identity.sign_in("lola", OLD, "198.51.100.1")
    there = await identity.sign_in("lola", OLD, "198.51.100.2")
    with pytest.raises(UnauthorizedError):
        await identity.change_password("lola", "wrong wrong", NEW, here.cookie)
    for bad, place in (("short", "length"), ("umarova-lola", "own"), (OLD, "again"),
                       ("password-2026", "words")):
        with pytest.raises(InvalidError) as refused:
            await identity.change_password("lola", OLD, bad, here.cookie)
        assert refused.value.issues[0].expression == f"password.{place}"

    await identity.change_password("lola", OLD, NEW, here.cookie)

    assert await identity.session(here.cookie) is not None
    assert await identity.session(there.cookie) is None
    with pytest.raises(UnauthorizedError):
        await identity.sign_in("lola", OLD, "198.51.100.3")
    assert (await identity.sign_in("lola", NEW, "198.51.100.4")).subject.user == "lola"


async def test_the_last_five_are_remembered(identity: Identity, database: Database) -> None:
    """With the present one five; what went before is forgotten."""
    await identity.save(Account(user="nodir", role=Role.REGISTRAR), OLD)
    for number in range(7):
        await people_tables.change_password(database.hot, "nodir", f"hash-{number}", REMEMBERED)

    kept = await people_tables.passwords_before(database.hot, "nodir", 100)
    assert kept == [f"hash-{number}" for number in (5, 4, 3, 2)]


async def test_guesses_are_counted_and_demo_words_stay(identity: Identity) -> None:
    """Wrong old passwords lead to a pause; a demo account's word is public."""
    await identity.save(Account(user="aziza", role=Role.REGISTRAR), OLD)
    for _ in range(4):
        with pytest.raises(UnauthorizedError):
            await identity.change_password("aziza", "wrong wrong", NEW)
    with pytest.raises((UnauthorizedError, ThrottledError)):
        await identity.change_password("aziza", "wrong wrong", NEW)
    with pytest.raises(ThrottledError):
        await identity.change_password("aziza", OLD, NEW)
    with pytest.raises(ForbiddenError):
        await identity.change_password("registrar", "registrar-demo", NEW)


async def test_an_administrator_gives_no_bad_one_either(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    """Accounts are made by the same rules, with the list of stolen ones where there is one."""
    digest = hashlib.sha1(NEW.encode(), usedforsecurity=False).hexdigest().upper()
    (tmp_path / digest[:5]).write_text(f"{digest[5:]}:1\n")
    strict = msgspec.structs.replace(settings, stolen_passwords=str(tmp_path))
    identity = Identity(database.hot, strict, load_keys(settings.data))
    for bad in ("password-2026", NEW):
        with pytest.raises(InvalidError):
            await identity.save(Account(user="new", role=Role.REGISTRAR), bad)
