"""The headers that every answer carries, whatever made it: what browsers may do with it.

OWASP's list of secure headers; https://www.w3.org/TR/CSP3/ and RFC 6797. Pages bring their own
content security policy (pages/view.py); what brings none is not to be run as a document at all.
"""

from __future__ import annotations

_YEAR_SECONDS = 31_536_000
_POLICY = b"content-security-policy"
_CACHE = b"cache-control"
_NOTHING = (_POLICY, (b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
                     b"form-action 'none'"))  # fmt: skip  # One policy.
# A browser shows a PDF by parts of its own, which the policy above would keep out.
_NOT_FRAMED = (_POLICY, b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
_NO_STORE = (_CACHE, b"no-store")
_SNIFF = (b"x-content-type-options", b"nosniff")
_ALWAYS = [
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-permitted-cross-domain-policies", b"none"),
]
_FHIR = [_NOTHING, *_ALWAYS]
_PAGE = [
    *_ALWAYS,
    (b"permissions-policy", (b"camera=(self), accelerometer=(), browsing-topics=(), "
                            b"display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), "
                            b"microphone=(), midi=(), payment=(), usb=()")),
]  # fmt: skip  # One header.
_ONLY_TLS = [
    (b"strict-transport-security", f"max-age={_YEAR_SECONDS}; includeSubDomains".encode()),
]
"""https://www.rfc-editor.org/rfc/rfc6797: browsers that came by TLS once never come without."""
Headers = list[tuple[bytes, bytes]]


def of_fhir(headers: Headers, *, is_secure: bool) -> Headers:
    """The headers of a FHIR answer, on the hot path: what it lacks is known without a look."""
    return [*headers, *_FHIR, *_ONLY_TLS] if is_secure else [*headers, *_FHIR]


def of_page(headers: Headers, *, is_secure: bool) -> Headers:
    """The headers of any other answer; policy and cache rule of its own are kept."""
    names = {name.lower() for name, _ in headers}
    made = [*headers, *_PAGE]
    if b"x-content-type-options" not in names:
        made.append(_SNIFF)
    if _POLICY not in names:
        is_pdf = any(value.startswith(b"application/pdf") for name, value in headers
                     if name.lower() == b"content-type")  # fmt: skip  # One condition.
        made.append(_NOT_FRAMED if is_pdf else _NOTHING)
    if _CACHE not in names:
        made.append(_NO_STORE)
    if is_secure:
        made += _ONLY_TLS
    return made
