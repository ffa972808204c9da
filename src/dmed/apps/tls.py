"""TLS of `dmed serve --cert`: which versions and ciphers are spoken, said here and nowhere else.

TLS 1.2 and 1.3 alone, with forward secrecy and authenticated encryption: the "intermediate" choice
of https://wiki.mozilla.org/Security/Server_Side_TLS without its oldest group, and what RFC 9325
(https://www.rfc-editor.org/rfc/rfc9325) recommends. TLS 1.3 brings ciphers of its own, all good.
"""

from __future__ import annotations

import ssl

CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
"""For TLS 1.2, in OpenSSL's names."""


def harden(context: ssl.SSLContext) -> None:
    """Sets versions and ciphers of a server's context; renegotiation and compression are off."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
