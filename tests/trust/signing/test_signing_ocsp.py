"""Answers about a certificate, and a key of the seal that was stolen."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509 import ocsp as reference

from dmed.kit.errors import NotFoundError
from dmed.trust.signing import certificates, ocsp, seal
from dmed.trust.signing.authority import Authority, Kind
from dmed.trust.signing.certificates import Certificate
from dmed.trust.signing.model import Holder, Reason, SignatureError

HOLDER = Holder(role="post-1", name="Olimov Olim", pinfl="31203850010017")


@pytest.fixture(params=[Kind.P256, Kind.NATIONAL])
def authority(request: pytest.FixtureRequest, tmp_path: Path) -> Authority:
    """An authority with keys on P-256, and one with national keys."""
    return Authority(tmp_path, request.param)


def issued(authority: Authority) -> tuple[Certificate, list[Certificate]]:
    """A person's certificate and what a message would bring with it."""
    person = authority.person(HOLDER)
    return certificates.read(person.certificate), [certificates.read(one) for one in person.above]


def now() -> datetime:
    """A moment of whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def test_a_good_answer_is_believed(authority: Authority) -> None:
    """Read by us and by another library alike, signed by the issuer, about this certificate."""
    mine, above = issued(authority)
    raw = authority.status(mine)

    status = ocsp.check(raw, mine, above, [authority.root], now())

    other = reference.load_der_ocsp_response(raw)
    assert (status.is_good, status.serial) == (True, mine.serial)
    assert other.serial_number == mine.serial
    assert other.certificate_status is reference.OCSPCertStatus.GOOD


def test_what_a_bad_answer_is_refused_for(authority: Authority, tmp_path: Path) -> None:
    """Revoked, too old, of the future, about another, by another authority, changed, nonsense."""
    mine, above = issued(authority)
    other = certificates.read(authority.issue(Holder(role="post-2", name="Boshqa"))[0].certificate)
    stranger = Authority(tmp_path / "stranger", authority.kind)
    good = authority.status(mine)
    day = timedelta(days=3)
    asked = [
        (good, mine, now() + day, Reason.STATUS_UNKNOWN),
        (authority.status(other), mine, now(), Reason.STATUS_UNKNOWN),
        (stranger.status(mine), mine, now(), Reason.STATUS_UNKNOWN),
        (b"simulated: good", mine, now(), Reason.MALFORMED),
        (good[:-1], mine, now(), Reason.MALFORMED),
        (bytes.fromhex("30030a0106"), mine, now(), Reason.STATUS_UNKNOWN),
    ]
    for raw, one, at, reason in asked:
        with pytest.raises(SignatureError) as caught:
            ocsp.check(raw, one, above, [authority.root], at)
        assert caught.value.reason is reason, str(caught.value)
    authority.revoke(f"{mine.serial:x}", now() - timedelta(minutes=1))
    with pytest.raises(SignatureError) as caught:
        ocsp.check(authority.status(mine), mine, above, [authority.root], now())
    assert caught.value.reason is Reason.REVOKED


def test_no_changed_byte_is_believed(authority: Authority) -> None:
    """Whatever byte of the answer is changed, it is refused, or says the same."""
    mine, above = issued(authority)
    raw = authority.status(mine)
    at = now()
    for place in range(0, len(raw), 3):
        changed = bytearray(raw)
        changed[place] ^= 1
        try:
            status = ocsp.check(bytes(changed), mine, above, [authority.root], at)
        except SignatureError:
            continue
        assert (status.is_good, status.serial) == (True, mine.serial)


def test_a_stolen_key_is_withdrawn(tmp_path: Path) -> None:
    """From its moment on its seals count no more, but for what is proved to be older; a new key
    seals; the published keys leave it out and say since when.
    """
    before = seal.load(tmp_path)
    jws, cose = before.jws(b"{}"), before.cose(b"slip")
    since = now() - timedelta(hours=1)

    fresh = seal.withdraw(tmp_path, before.active.number[:8], since)

    after = seal.load(tmp_path)
    assert fresh == after.active.number != before.active.number
    for ask in (lambda: after.opened_jws(jws), lambda: after.opened_cose(cose),
                lambda: after.opened_jws(jws, proved=since)):
        with pytest.raises(SignatureError, match="was withdrawn") as caught:
            ask()
        assert caught.value.reason is Reason.REVOKED
    assert after.opened_jws(jws, proved=since - timedelta(seconds=1)) == b"{}"
    assert after.opened_jws(after.jws(b"new")) == b"new"
    published = after.jwk_set()
    assert [key["kid"] for key in published["keys"]] == [fresh]
    assert published["withdrawn"] == [
        {"kid": before.active.number, "since": since.isoformat(timespec="seconds")}]
    assert before.active.number[:8].encode() not in after.cose_keys()
    json.dumps(published)


def test_a_withdrawal_moves_back_only(tmp_path: Path) -> None:
    """Said again later it stays; said earlier it counts from then; unknown keys are told."""
    first = seal.load(tmp_path).active.number
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    seal.withdraw(tmp_path, first, noon)
    for moment, kept in ((noon + timedelta(days=1), noon),
                         (noon - timedelta(days=1), noon - timedelta(days=1))):
        seal.withdraw(tmp_path, first, moment)
        assert seal.load(tmp_path).keys[0].withdrawn == kept
    assert len(seal.load(tmp_path).keys) == 2
    for number in ("nobodys-key", "", first[:4]):
        with pytest.raises(NotFoundError):
            seal.withdraw(tmp_path, number, noon)
