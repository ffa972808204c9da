"""Which posts sign which acts, decided at the moment of signing."""

from __future__ import annotations

from dmed.modules.workforce.api import Reason, Verdict

ACTS = {"prescription": ("2211", "2212", "2261")}
"""Act to the groups of position-and-profession-cs: general practitioners, specialists, dentists."""


def may_sign(verdict: Verdict, act: str) -> Verdict:
    """The verdict of the staff register, narrowed to the posts that sign this act."""
    if not verdict.allowed or verdict.practitioner is None:
        return verdict
    found = verdict.practitioner
    if found.post_code.partition(".")[0] not in ACTS[act]:
        values = {"name": found.short_name, "post": found.post, "act": act}
        return Verdict(False, (Reason("signing.reason.post-not-for-act", values),), found)
    return verdict
