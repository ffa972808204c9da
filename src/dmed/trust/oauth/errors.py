"""Refusals of the protocol: https://www.rfc-editor.org/rfc/rfc6749#section-5.2"""

from __future__ import annotations


class OAuthError(Exception):
    """A refusal with the code that the protocol knows; the description is for developers."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        self.code = code
        self.description = description
        self.status = status
        super().__init__(f"{code}: {description}")
