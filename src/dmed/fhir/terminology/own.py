"""R5's own code systems, value sets and concept maps, from one compact file.

`data/r5.terms` is made by `tools/compile_terms.py` from the npm package hl7.fhir.r5.core (CC0). It
holds no prose and no codes of other owners: what enumerates those is left out.
"""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path

import msgspec

from dmed.fhir.terminology.model import CodeSystem, ConceptMap, ValueSet

FILE = Path(__file__).parents[1] / "data" / "r5.terms"


class OwnTerms(msgspec.Struct, omit_defaults=True):
    """The definitions, each list in the order of their addresses."""

    systems: list[CodeSystem] = []
    sets: list[ValueSet] = []
    maps: list[ConceptMap] = []


class TermsFile(msgspec.Struct):
    """The file as it lies on disk: where it came from, and OwnTerms as zlib-packed msgpack."""

    package: str
    version: str
    sha512: str
    packed: bytes


def packed_terms(package: str, version: str, sha512: str, terms: OwnTerms) -> bytes:
    """The bytes of the file."""
    body = zlib.compress(msgspec.msgpack.encode(terms), 9)
    return msgspec.msgpack.encode(TermsFile(package, version, sha512, body))


def file_of(packed: bytes) -> TermsFile:
    """The file read back, its content still packed."""
    return msgspec.msgpack.decode(packed, type=TermsFile)


@cache
def own_terms() -> OwnTerms:
    """R5's own definitions, read once a process (some 20 ms)."""
    packed = file_of(FILE.read_bytes()).packed
    return msgspec.msgpack.decode(zlib.decompress(packed), type=OwnTerms)
