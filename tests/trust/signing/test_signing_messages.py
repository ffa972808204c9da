"""Signed messages and certificates, on P-256 and on the national algorithms."""

from __future__ import annotations

import base64
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs7
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.kit import der
from dmed.trust.signing import algorithms, certificates, cms
from dmed.trust.signing.authority import Authority, Kind
from dmed.trust.signing.certificates import Certificate
from dmed.trust.signing.model import Holder, Reason, SignatureError

DOCUMENT = b'{"act":"prescription","items":[{"dose":"1"}]}'
HOLDER = Holder(role="role-1", name="Yusupova Aziza", pinfl="41503860180012")
NOW = datetime.now(UTC).replace(microsecond=0)
RFC4491 = base64.b64decode(
    "MIIB0DCCAX8CECv1xh7CEb0Xx9zUYma0LiEwCAYGKoUDAgIDMG0xHzAdBgNVBAMMFkdvc3RSMzQxMC0yMDAxIGV4YW1w"
    "bGUxEjAQBgNVBAoMCUNyeXB0b1BybzELMAkGA1UEBhMCUlUxKTAnBgkqhkiG9w0BCQEWGkdvc3RSMzQxMC0yMDAxQGV4"
    "YW1wbGUuY29tMB4XDTA1MDgxNjE0MTgyMFoXDTE1MDgxNjE0MTgyMFowbTEfMB0GA1UEAwwWR29zdFIzNDEwLTIwMDEg"
    "ZXhhbXBsZTESMBAGA1UECgwJQ3J5cHRvUHJvMQswCQYDVQQGEwJSVTEpMCcGCSqGSIb3DQEJARYaR29zdFIzNDEwLTIw"
    "MDFAZXhhbXBsZS5jb20wYzAcBgYqhQMCAhMwEgYHKoUDAgIkAAYHKoUDAgIeAQNDAARAhJVodWACGkB1CM0TjDGJLP3l"
    "BQN6Q1z0bSsP508yfleP68wWuZWIA9CafIWuD+SN6qa7flbHy7DfD2a8yuoaYDAIBgYqhQMCAgMDQQA8L8kJRLcnqeyn"
    "1en7U23Sw6pkfEQu3u0xFkVPvFQ/3cHeF26NG+xxtZPz3TaTVXdoiYkXYiD02rEx1bUcM97i"
)
"""RFC 4491, 4.2: a certificate signed by its own GOST R 34.10-2001 key."""
RFC4491_94 = base64.b64decode(
    "MIICCzCCAboCECMO42BGlSTOxwvklBgufuswCAYGKoUDAgIEMGkxHTAbBgNVBAMMFEdvc3RSMzQxMC05NCBleGFtcGxl"
    "MRIwEAYDVQQKDAlDcnlwdG9Qcm8xCzAJBgNVBAYTAlJVMScwJQYJKoZIhvcNAQkBFhhHb3N0UjM0MTAtOTRAZXhhbXBs"
    "ZS5jb20wHhcNMDUwODE2MTIzMjUwWhcNMTUwODE2MTIzMjUwWjBpMR0wGwYDVQQDDBRHb3N0UjM0MTAtOTQgZXhhbXBs"
    "ZTESMBAGA1UECgwJQ3J5cHRvUHJvMQswCQYDVQQGEwJSVTEnMCUGCSqGSIb3DQEJARYYR29zdFIzNDEwLTk0QGV4YW1w"
    "bGUuY29tMIGlMBwGBiqFAwICFDASBgcqhQMCAiACBgcqhQMCAh4BA4GEAASBgLuEZuF5nls02CyAfxOoGWZxV/6MVCUh"
    "R28wCyd3RpjG+0dVvrey85NsObVCNyaE4g0QiiQOHwxCTSs7ESuov2Y5MlyUi8Go/htjEvYJJYfMdRv05YmKCYJo01x3"
    "pg+2kBATjeM+fJyR1qwNCCw+eMG1wra3Gqgqi0WBkzIydvp7MAgGBiqFAwICBANBABHHCH4S3ALxAiMpR3aPRyqBg1Dj"
    "B8zy5DEjiULIc+HeIveF81W9lOxGkZxnrFjXBSqnjLeFKgF1hffXOAP7zUM="
)
"""RFC 4491, 4.1: the same with a key of GOST R 34.10-94, which is too weak today."""
NATIONAL_ROOT = Path(__file__).parent / "national-root.b64"
"""The certificate of the national root authority, 2016 to 2036, as E-IMZO's messages carry it."""


@pytest.fixture(scope="module", params=[Kind.P256, Kind.NATIONAL])
def authority(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), request.param)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("quick"))


def signed(authority: Authority, **more: object) -> bytes:
    facts: dict[str, object] = {
        "stamp": authority.stamp, "lists": [authority.revocation_list()], "attached": False, **more}
    return cms.make(DOCUMENT, authority.person(HOLDER), NOW, **facts)  # type: ignore[arg-type]  # Named above.


def verify(authority: Authority, raw: bytes, document: bytes = DOCUMENT) -> object:
    roots = [authority.root]
    return cms.verify(cms.read(raw), document, roots, stamp_roots=roots)


def refusal(authority: Authority, raw: bytes, document: bytes = DOCUMENT) -> Reason:
    with pytest.raises(SignatureError) as caught:
        verify(authority, raw, document)
    said = str(caught.value)
    assert len(said) > 20, said
    return caught.value.reason


def test_the_certificate_of_the_rfc_holds() -> None:
    """RFC 4491's certificate of GOST R 34.10-2001 is signed by its own key."""
    found = certificates.read(RFC4491)

    assert found.name == "GostR3410-2001 example"
    assert found.issued(found)


def test_the_older_algorithm_of_the_rfc_is_weak() -> None:
    """RFC 4491's certificate of GOST R 34.10-94 is refused by name."""
    with pytest.raises(SignatureError, match=r"GOST R 34\.10-94") as caught:
        certificates.read(RFC4491_94)
    assert caught.value.reason is Reason.WEAK


def test_the_national_root_holds() -> None:
    """The national root's own certificate (O'zDSt 1092 and 1106) verifies, and not when changed."""
    raw = base64.b64decode(NATIONAL_ROOT.read_text())
    found = certificates.read(raw)
    assert found.issued(found)
    assert found.is_authority
    assert (found.begins.year, found.ends.year) == (2016, 2036)

    changed = certificates.read(raw.replace(b"pki.uz", b"pki.us"))
    assert not changed.issued(changed)


def test_a_message_holds(authority: Authority) -> None:
    """Detached and attached, stamped when it is made or afterwards."""
    for raw in (
        signed(authority), signed(authority, attached=True),
        cms.with_stamp(signed(authority, stamp=None), authority.stamp),
    ):  # fmt: skip  # A list.
        proof = verify(authority, raw)
        assert proof.name == HOLDER.name  # type: ignore[attr-defined]  # A Proof.
        assert proof.stamped is not None  # type: ignore[attr-defined]  # Same.


def test_each_fault_has_its_reason(authority: Authority, tmp_path: Path) -> None:
    """Another document, no stamp, a strange authority, revoked and expired certificates."""
    good = signed(authority)
    assert refusal(authority, good, DOCUMENT + b" ") is Reason.CHANGED
    attached = signed(authority, attached=True)
    assert refusal(authority, attached, DOCUMENT + b" ") is Reason.OTHER_DOCUMENT
    assert refusal(authority, signed(authority, stamp=None)) is Reason.NO_STAMP
    assert refusal(authority, signed(authority, lists=[])) is Reason.STATUS_UNKNOWN
    stranger = Authority(tmp_path / "stranger", authority.kind)
    assert refusal(stranger, good) is Reason.CHAIN
    old = authority.issue(HOLDER, NOW - timedelta(days=9), NOW - timedelta(days=1))[0]
    late = cms.make(DOCUMENT, old, NOW, stamp=authority.stamp,
                    lists=[authority.revocation_list()])  # fmt: skip  # One message.
    assert refusal(authority, late) is Reason.EXPIRED
    early = cms.make(DOCUMENT, authority.person(HOLDER), NOW - timedelta(days=3),
                     stamp=authority.stamp,
                     lists=[authority.revocation_list()])  # fmt: skip  # Same.
    assert refusal(authority, early) is Reason.TIME
    gone = authority.issue(HOLDER)[0]
    authority.revoke(f"{certificates.read(gone.certificate).serial:x}", NOW - timedelta(hours=1))
    revoked = cms.make(DOCUMENT, gone, NOW, stamp=authority.stamp,
                       lists=[authority.revocation_list()])  # fmt: skip  # Same.
    assert refusal(authority, revoked) is Reason.REVOKED
    assert verify(authority, signed(authority))


def test_a_stamp_of_another_signature_is_refused(quick: Authority) -> None:
    """A time stamp cannot be carried over from one signature to another."""
    foreign = quick.stamp(b"another signature")
    raw = cms.with_stamp(signed(quick, stamp=None), lambda _: foreign)

    assert refusal(quick, raw) is Reason.NO_STAMP


def test_a_person_stamps_no_time(quick: Authority) -> None:
    """Only the certificate that is made for it stamps times."""
    me = quick.person(HOLDER)
    raw = signed(quick, stamp=lambda signature: cms.make_stamp(signature, me, NOW))

    assert refusal(quick, raw) is Reason.CHAIN


def test_a_person_issues_no_certificate(quick: Authority) -> None:
    """A certificate that stands below a person's is followed to no root."""
    me, other = quick.person(HOLDER), algorithms.P256Key()
    mine = certificates.read(me.certificate)
    forged = certificates.make(
        subject=certificates.name({certificates.COMMON_NAME: "Chief doctor"}),
        public=other.public(), issuer=mine.subject, key=me.key, begins=NOW - timedelta(hours=1),
        ends=NOW + timedelta(days=1),
    )  # fmt: skip  # One certificate.
    chain = cms.Identity(other, forged, (me.certificate, *me.above))
    raw = cms.make(DOCUMENT, chain, NOW, stamp=quick.stamp, lists=[quick.revocation_list()])

    assert refusal(quick, raw) is Reason.CHAIN


def _twice(raw: bytes) -> bytes:
    """The message with its signer twice."""
    whole = list(der.read(raw).parts())
    parts = list(der.read(whole[1].body).parts())
    signers = der.write(der.SET, parts[-1].body, parts[-1].body)
    data = der.sequence(*(one.raw for one in parts[:-1]), signers)
    return der.sequence(whole[0].raw, der.write(0xA0, data))


def test_duplicate_signers_and_leftovers_are_refused(quick: Authority) -> None:
    """Two signers, none, bytes behind the message, an attribute twice."""
    good = signed(quick)
    assert refusal(quick, _twice(good)) is Reason.SEVERAL_SIGNERS
    assert refusal(quick, good + b"\0") is Reason.MALFORMED
    assert refusal(quick, good[:-1]) is Reason.MALFORMED
    assert refusal(quick, b"\x30\x80" + good[4:]) is Reason.MALFORMED
    assert refusal(quick, b"") is Reason.MALFORMED


def test_weak_algorithms_are_refused(quick: Authority) -> None:
    """SHA-1 is refused by name, as hash and in a signature; so are short RSA keys."""
    sha1 = b"\x06\x05\x2b\x0e\x03\x02\x1a" + b"\x05\x00" * 2  # As long as SHA-256's.
    weak = signed(quick).replace(der.oid(algorithms.SHA256), sha1)
    assert refusal(quick, weak) in {Reason.WEAK, Reason.MALFORMED}
    with pytest.raises(SignatureError, match="SHA-1"):
        algorithms.hashed("1.3.14.3.2.26", b"")
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505  # It is meant to be refused.
    raw = short.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = algorithms.read_key(der.read(raw))
    with pytest.raises(SignatureError, match="1024 bits"):
        algorithms.holds(key, "1.2.840.113549.1.1.11", b"", b"")
    with pytest.raises(SignatureError, match="SHA-1 with RSA"):
        algorithms.holds(key, "1.2.840.113549.1.1.5", b"", b"")


@given(position=st.integers(min_value=0), change=st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_one_changed_byte_anywhere_is_refused(
    quick: Authority, position: int, change: int
) -> None:
    """Whatever byte of the document or of what its message proves is changed: it is refused.

    Bytes that nobody signs (the outer wrapping of the version) may only be refused or mean the
    same signature by the same person at the same time.
    """
    document = bytearray(DOCUMENT)
    document[position % len(document)] ^= change
    good = signed_once(quick)
    assert refusal(quick, good, bytes(document)) is Reason.CHANGED
    raw = bytearray(good)
    raw[position % len(raw)] ^= change
    try:
        proof = verify(quick, bytes(raw))
    except SignatureError:
        return
    assert proof == verify(quick, good)


_once: dict[Path, bytes] = {}


def signed_once(authority: Authority) -> bytes:
    if authority.folder not in _once:
        _once[authority.folder] = signed(authority)
    return _once[authority.folder]


@given(raw=st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_a_message_or_refused(raw: bytes) -> None:
    """Whatever comes as message, certificate or list is read or refused by SignatureError."""
    for ask in (cms.read, certificates.read, certificates.read_list):
        with pytest.raises(SignatureError):
            ask(raw)


def test_a_message_of_another_program_holds(quick: Authority) -> None:
    """What the library `cryptography` signs is verified by our code (no stamp asked)."""
    identity = quick.person(HOLDER)
    key, raw = identity.key, identity.certificate
    assert isinstance(key, algorithms.P256Key)
    builder = pkcs7.PKCS7SignatureBuilder().set_data(DOCUMENT).add_signer(
        x509.load_der_x509_certificate(raw), key.key, hashes.SHA256())
    for above in identity.above:
        builder = builder.add_certificate(x509.load_der_x509_certificate(above))
    chosen = [pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.NoCapabilities]
    made = builder.sign(Encoding.DER, chosen)
    proof = cms.verify(cms.read(made), DOCUMENT, [quick.root], needs_status=False)

    assert proof.name == HOLDER.name


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on this machine")
def test_another_program_verifies_our_message(quick: Authority, tmp_path: Path) -> None:
    """OpenSSL verifies what we sign, chain and revocation list too."""
    (tmp_path / "m").write_bytes(signed(quick))
    (tmp_path / "d").write_bytes(DOCUMENT)
    root: Certificate = quick.root
    pem = x509.load_der_x509_certificate(root.raw).public_bytes(Encoding.PEM)
    (tmp_path / "r").write_bytes(pem)
    said = subprocess.run(
        ["openssl", "cms", "-verify", "-inform", "DER", "-in", "m", "-content", "d", "-binary",
         "-CAfile", "r", "-purpose", "any", "-out", "o"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip  # One command.

    assert "successful" in said.stderr, said.stderr


def test_verifying_is_quick(authority: Authority) -> None:
    """Far above what it takes, so that only a blunder fails: 50 ms are meant for the national."""
    raw = signed(authority)
    verify(authority, raw)
    began = time.process_time()
    verify(authority, raw)

    assert time.process_time() - began < 1
