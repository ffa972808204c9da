"""Lines that a doctor often writes, kept under a name of his own: no person, no diagnosis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dmed.kit import ids
from dmed.kit.errors import ConflictError, InvalidError, NotFoundError
from dmed.modules.prescriptions import tables
from dmed.modules.prescriptions.model import Draft, DraftItem
from dmed.modules.prescriptions.service import drafts
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

FAVOURITES_MAX = 40
NAME_CHARACTERS_MAX = 40
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(tuple[DraftItem, ...])


class Favourite(msgspec.Struct, frozen=True):
    """Lines under a name."""

    id: str
    name: str
    items: tuple[DraftItem, ...]


async def listed(gateway: Gateway, subject: Subject) -> list[Favourite]:
    """The doctor's favourites by name."""
    drafts.require_doctor(subject)
    async with gateway.unit(subject) as unit:
        rows = await tables.favourites(unit, subject.user, FAVOURITES_MAX)
    return [Favourite(row["id"], row["name"], _decoder.decode(row["body"])) for row in rows]


async def keep(gateway: Gateway, subject: Subject, name: str, draft: Draft) -> Favourite:
    """Keep the lines of a draft, without what belongs to one person only: diagnosis of a line,
    reasons past an alert, a medicine that a commission allowed him. InvalidError for no name or
    no line.
    """
    drafts.require_doctor(subject)
    name = " ".join(name.split())[:NAME_CHARACTERS_MAX]
    items = tuple(
        msgspec.structs.replace(item, overrides={}, diagnosis="", note="") for item in draft.items
        if item.unregistered is None
    )  # fmt: skip  # One line of a favourite.
    if not name or not items:
        raise InvalidError("A favourite has a name and at least one medicine")
    made = Favourite(ids.secret(128), name, items)
    async with gateway.unit(subject) as unit:
        if len(await tables.favourites(unit, subject.user, FAVOURITES_MAX)) >= FAVOURITES_MAX:
            raise ConflictError(f"At most {FAVOURITES_MAX} favourites are kept: drop one first")
        body = _encoder.encode(items)
        await tables.keep_favourite(unit, made.id, subject.user, name, body)
    return made


async def drop(gateway: Gateway, subject: Subject, id_: str) -> None:
    """Forget a favourite; forgetting twice is no error."""
    drafts.require_doctor(subject)
    async with gateway.unit(subject) as unit:
        await tables.drop_favourite(unit, subject.user, id_)


async def added(gateway: Gateway, subject: Subject, id_: str, draft: Draft) -> Draft:
    """A draft with the lines of a favourite after its own; NotFoundError."""
    for each in await listed(gateway, subject):
        if each.id == id_:
            return msgspec.structs.replace(draft, items=(*draft.items, *each.items))
    raise NotFoundError("There is no such favourite")
