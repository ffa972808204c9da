"""A search as typed, frozen facts: what `fhir.query.parse` returns and `store.search` compiles.

Specification: https://hl7.org/fhir/R5/search.html
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

import msgspec


class Token(msgspec.Struct, frozen=True):
    """`system|code`. A system of None means any, "" means none; a code of None means any."""

    system: str | None
    code: str | None


class Text(msgspec.Struct, frozen=True):
    """A string as the caller wrote it, and the folded key that is compared."""

    text: str
    key: str


class Moment(msgspec.Struct, frozen=True):
    """A date with its prefix; low and high are its first and last microsecond since 1970 UTC."""

    prefix: str
    text: str
    low: int
    high: int


class Number(msgspec.Struct, frozen=True):
    """A number with its prefix; low and high bound what it stands for by its written precision."""

    prefix: str
    text: str
    value: Decimal
    low: Decimal
    high: Decimal


class Quantity(msgspec.Struct, frozen=True):
    """A number with its unit; a system or code of None means any."""

    number: Number
    system: str | None
    code: str | None


class Link(msgspec.Struct, frozen=True):
    """A reference: type None means any; type "" means that id is an absolute address."""

    type: str | None
    id: str
    version: str = ""


class Address(msgspec.Struct, frozen=True):
    """A uri as the caller wrote it."""

    text: str


class CodeSet(msgspec.Struct, frozen=True):
    """Codes that a caller named by a value set, or by the top or bottom of a hierarchy.

    `text` is what was written, escapes and all; `tokens` are the codes, each with its system, in
    a stable order.
    """

    text: str
    tokens: tuple[Token, ...]


class Near(msgspec.Struct, frozen=True):
    """A circle on the earth: its middle in degrees, its radius in kilometres."""

    text: str
    latitude: float
    longitude: float
    distance_km: float


class Canonical(msgspec.Struct, frozen=True):
    """A record by the address that it carries: what refers to it names that address, and no
    version or its own. Made of found records by the store, never by a caller.
    """

    url: str
    version: str


class Composite(msgspec.Struct, frozen=True):
    """The parts of `a$b`, in the order of the parameter's components."""

    parts: tuple[Token | Text | Moment | Number | Quantity | Link | Address, ...]


class Words(msgspec.Struct, frozen=True):
    """Words sought in a record's text: as the caller wrote them, and as a tsquery of our making."""

    text: str
    query: str
    needed: tuple[str, ...] = ()
    """Folded words that every text has which is found; empty where OR or NOT leave that open."""


Simple: TypeAlias = Token | Text | Moment | Number | Quantity | Link | Address
Value: TypeAlias = Simple | Composite | Words | CodeSet | Near | Canonical


class Match(msgspec.Struct, frozen=True):
    """One parameter: a record matches when any of the values does (with `not`: when none does)."""

    type: str
    code: str
    kind: str
    """The index that holds the values: string, token, date, number, quantity, reference, uri,
    composite or special (a place on the earth)."""
    number: int
    """Number of the parameter in the index tables; 0 for `_id` and `_lastUpdated`."""
    modifier: str
    """"" or as the caller wrote it: exact, contains, not, below, above, text, of-type and so on."""
    values: tuple[Value, ...]
    numbers: tuple[int, ...] = ()
    """Under which numbers the rows lie where not under `number`: `params.modified_numbers`."""


class Missing(msgspec.Struct, frozen=True):
    """`:missing`: whether the record has no value for the parameter."""

    type: str
    code: str
    kind: str
    number: int
    missing: bool


class Chain(msgspec.Struct, frozen=True):
    """`subject:Patient.name=x`: the record refers to one that matches any of the branches."""

    type: str
    code: str
    number: int
    target: str
    """The type that the caller named, or ""."""
    branches: tuple[Criterion, ...]
    """One criterion a possible target type; all stand for the same text."""


class Has(msgspec.Struct, frozen=True):
    """`_has:Observation:patient:code=x`: a record of `type` that matches `inner` refers to this."""

    base: str
    """The type of the record that is referred to."""
    type: str
    code: str
    number: int
    inner: Criterion


class Logic(msgspec.Struct, frozen=True):
    """Criteria of one type joined: `sign` is and, or, or not (of one part).

    `and` of nothing holds always, `or` of nothing never. `code` and `text` are the parameter and
    value that it was asked under; a part of another Logic has none.
    """

    type: str
    sign: str
    parts: tuple[Criterion, ...]
    code: str = ""
    text: str = ""


Criterion: TypeAlias = "Match | Missing | Chain | Has | Logic"
Staged: TypeAlias = "Match | Missing | Logic"
"""A criterion whose chains are resolved to ids (in a Logic: those of its parts)."""


class SortKey(msgspec.Struct, frozen=True):
    """One key of `_sort`; records without a value come last in both directions."""

    code: str
    kind: str
    number: int
    descending: bool
    place: Near | None = None
    """Under `near`: from where distances are taken."""


class Include(msgspec.Struct, frozen=True):
    """`_include` or `_revinclude`: follow parameter `code` of records of type `source`.

    `code` "*" means every reference, and then `source` may be "" for any type. `target` "" means
    any target type. With `iterate` it is followed from included records too.
    """

    source: str
    code: str
    number: int
    target: str
    iterate: bool


class Ignored(msgspec.Struct, frozen=True):
    """A parameter that was left out under lenient handling, and a sentence that says why."""

    parameter: str
    reason: str


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A whole search of one resource type, checked and bounded."""

    type: str
    criteria: tuple[Criterion, ...] = ()
    sort: tuple[SortKey, ...] = ()
    includes: tuple[Include, ...] = ()
    revincludes: tuple[Include, ...] = ()
    count: int = 20
    summary: str = ""
    """"", true, text, data, count or false."""
    elements: tuple[str, ...] = ()
    total: str = ""
    """"", none, estimate or accurate."""
    cursor: str = ""
    ignored: tuple[Ignored, ...] = ()
    contained: str = ""
    """"", false, true or both: whether resources inside of others are searched."""
    contained_type: str = ""
    """"", container or contained: what is then answered."""
    include_max: int = 1_000
    """Most records that includes may add to a page: from the settings."""
