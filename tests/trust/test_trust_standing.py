"""Rights follow the staff register: a transfer, an ended post, a certificate that ran out."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from dmed.kit.errors import ForbiddenError, UnauthorizedError
from dmed.kit.settings import Settings
from dmed.store.pool import Database
from dmed.trust import standing
from dmed.trust.gateway import Gateway
from dmed.trust.identity import Account, Identity
from dmed.trust.model import Role, Subject

DAY = date(2026, 11, 23)
WORD = "long-enough-word"


def person(until: str = "2027-01-01", **changes: Any) -> dict[str, Any]:
    """A member of staff with one certificate."""
    certificate = {
        "code": {"coding": [{"code": "CER"}]}, "period": {"start": "2022-01-01", "end": until},
    }  # fmt: skip  # One record.
    return {"resourceType": "Practitioner", "id": "p", "active": True,
            "qualification": [certificate], **changes}  # fmt: skip  # Same.


def post(**changes: Any) -> dict[str, Any]:
    """The post of that member of staff."""
    return {"resourceType": "PractitionerRole", "active": True, "period": {"start": "2024-01-09"},
            "practitioner": {"reference": "Practitioner/p"},
            "organization": {"reference": "Organization/o1", "display": "Clinic 1"},
            **changes}  # fmt: skip  # Same.


@pytest.mark.parametrize(
    ("who", "where", "refusal"),
    [(person(), post(), ""), (None, post(), "gone"), (person(), None, "gone"),
     (person(active=False), post(), "inactive"), (person(), post(active=False), "inactive"),
     (person(), post(period={"end": "2026-11-22"}), "post-over"),
     (person(), post(period={"end": "2026-11"}), ""),
     (person(), post(period={"start": "2026-12-01"}), "post-over"),
     (person(until="2026-11-22"), post(), "certificate-over"),
     (person(qualification=[]), post(), ""),
     (person(), post(practitioner={"reference": "Practitioner/else"}), "gone")],
)  # fmt: skip  # A table of cases.
def test_the_register_decides(who: Any, where: Any, refusal: str) -> None:
    """Each fact of the register by itself; what is missing is as good as ended."""
    assert standing.judge(Role.DOCTOR, who, where, DAY).refusal == refusal


def test_certificates_bind_those_who_need_one() -> None:
    """A registrar works on when a certificate of an earlier profession runs out."""
    assert standing.judge(Role.REGISTRAR, person(until="2020-01-01"), post(), DAY).refusal == ""


async def test_what_the_register_takes_is_gone(
    identity: Identity, database: Database, settings: Settings
) -> None:
    """A transfer moves an open session; an ended post ends it, its tokens and the next sign-in."""
    gateway = Gateway(database, settings)
    admin = Subject(user="admin", role=Role.ADMINISTRATOR)
    who = await gateway.create(admin, "Practitioner", {
        key: value for key, value in person().items() if key != "id"})
    where = {**post(), "practitioner": {"reference": f"Practitioner/{who.id}"}}
    role = await gateway.create(admin, "PractitionerRole", where)
    await identity.save(
        Account(user="anna", role=Role.DOCTOR, practitioner=who.id, practitioner_role=role.id,
                organisation="o1"), WORD)  # fmt: skip  # One account.
    opened = await identity.sign_in("anna", WORD, "10.9.0.1")
    token = (await identity.issue_token("anna")).encode()
    assert (await identity.bearer(token)).organisation == "o1"

    async def now_is(**changes: Any) -> None:
        body = {**where, "id": role.id, **changes}
        await gateway.update(admin, "PractitionerRole", role.id, body)
        # Both memories together are shorter than a minute; here they end at once.
        identity.register.forget()
        identity._known.clear()

    await now_is(organization={"reference": "Organization/o2", "display": "Clinic 2"})
    moved = await identity.session(opened.cookie)
    assert moved is not None
    assert (moved.subject.organisation, moved.subject.organisation_name) == ("o2", "Clinic 2")
    with pytest.raises(UnauthorizedError):
        await identity.bearer(token)
    await now_is(active=False)
    assert await identity.session(opened.cookie) is None
    with pytest.raises(ForbiddenError):
        await identity.sign_in("anna", WORD, "10.9.0.1")


def test_memories_end_within_a_minute() -> None:
    """A verified token and a looked-up standing together are never older than sixty seconds."""
    from dmed.trust import identity

    assert identity._CACHE_S + standing.CACHE_S <= 60
