"""One family of errors, each with its FHIR issue code and its HTTP status.

Codes: https://hl7.org/fhir/R5/valueset-issue-type.html
"""

from __future__ import annotations

from typing import ClassVar

import msgspec


class Issue(msgspec.Struct, frozen=True, omit_defaults=True):
    """One fault: how bad, of which FHIR issue type, in words, and where (FHIRPath)."""

    code: str
    diagnostics: str
    expression: str = ""
    severity: str = "error"


class DmedError(Exception):
    """Base of all expected errors; `issues` is never empty and is what the caller is told."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "exception"

    def __init__(self, diagnostics: str = "", expression: str = "", *,
                 issues: tuple[Issue, ...] = (), headers: dict[str, str] | None = None) -> None:
        if not issues:
            issues = (Issue(self.code, diagnostics or type(self).__name__, expression),)
        self.issues = issues
        self.headers = headers or {}
        super().__init__("; ".join(issue.diagnostics for issue in issues))


class InvalidError(DmedError):
    """The content breaks the format or the specification: 400."""

    status, code = 400, "invalid"


class UnauthorizedError(DmedError):
    """Nobody is signed in, or the proof is not accepted: 401."""

    status, code = 401, "login"


class ForbiddenError(DmedError):
    """Signed in, but the decision is no; the reason is in the issue: 403."""

    status, code = 403, "forbidden"


class NotFoundError(DmedError):
    """No such record, type or page: 404."""

    status, code = 404, "not-found"


class NotSupportedError(DmedError):
    """The interaction, type or parameter is not served here: 400 or 405 by the caller."""

    status, code = 400, "not-supported"


class NotAllowedError(DmedError):
    """The HTTP method is not served at this address: 405."""

    status, code = 405, "not-supported"


class ConflictError(DmedError):
    """The state forbids it now; the issue names the state: 409."""

    status, code = 409, "conflict"


class GoneError(DmedError):
    """The record was deleted: 410."""

    status, code = 410, "deleted"


class PreconditionError(DmedError):
    """If-Match or a conditional's criteria do not hold: 412."""

    status, code = 412, "conflict"


class TooLargeError(DmedError):
    """Body or Bundle above the documented limit: 413."""

    status, code = 413, "too-long"


class MediaTypeError(DmedError):
    """Not JSON: 415 or 406."""

    status, code = 415, "not-supported"


class UnprocessableError(DmedError):
    """Well formed, but breaks a rule of the business or of a profile: 422."""

    status, code = 422, "business-rule"


class ThrottledError(DmedError):
    """Too many requests; Retry-After says when: 429."""

    status, code = 429, "throttled"


class UnavailableError(DmedError):
    """The database or a needed neighbour does not answer now: 503."""

    status, code = 503, "transient"
