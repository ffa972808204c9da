"""How like two persons are: fields side by side, letters to mark, a sum of weights."""

from __future__ import annotations

from decimal import Decimal
from difflib import SequenceMatcher

from dmed.kit.text import fold, name_frame, name_key
from dmed.modules.medid.model import FieldPair, Span


def _spread(text: str) -> tuple[str, list[int]]:
    letters: list[str] = []
    owners: list[int] = []
    for place, letter in enumerate(text):
        for made in fold(letter):
            letters.append(made)
            owners.append(place)
    return "".join(letters), owners


def spans(ours: str, theirs: str) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Both texts cut where their sounds differ, so that the differing letters can be marked.

    Scripts are no difference: Д and D are the same letter, Ю and Yo‘ are not.
    """
    (left, left_owners), (right, right_owners) = _spread(ours), _spread(theirs)
    marked: tuple[set[int], set[int]] = (set(), set())
    for what, a, b, c, d in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if what != "equal":
            marked[0].update(left_owners[a:b])
            marked[1].update(right_owners[c:d])
    return _cut(ours, marked[0]), _cut(theirs, marked[1])


def _cut(text: str, marked: set[int]) -> tuple[Span, ...]:
    cut: list[Span] = []
    for place, letter in enumerate(text):
        is_different = place in marked
        if cut and cut[-1].is_different == is_different:
            cut[-1] = Span(cut[-1].text + letter, is_different)
        else:
            cut.append(Span(letter, is_different))
    return tuple(cut)


_WEIGHT = {
    # field: same, alike, different
    "family": ("4.1", "2.0", "-2.5"),
    "given": ("4.3", "2.2", "-4.0"),
    "patronymic": ("2.0", "1.0", "-1.5"),
    "birth_date": ("6.0", "2.5", "-5.0"),
    "sex": ("0.5", "0.0", "-5.0"),
    "pinfl": ("12.0", "3.0", "-4.0"),
    "phone": ("3.0", "1.0", "-0.5"),
    "address": ("1.5", "0.5", "-0.5"),
}
NEAR_WEIGHT = Decimal("7.5")
"""From this sum on two records are shown as near matches."""


def compare(field: str, ours: str, theirs: str) -> FieldPair:
    """One field of two persons side by side, with its verdict and weight."""
    if not ours or not theirs:
        return FieldPair(field, _plain(ours), _plain(theirs), "unknown")
    verdict = _verdict(field, ours, theirs)
    place = ("same", "alike", "different").index(verdict)
    left, right = spans(ours, theirs)
    return FieldPair(field, left, right, verdict, Decimal(_WEIGHT[field][place]))


def _plain(text: str) -> tuple[Span, ...]:
    return (Span(text),) if text else ()


def _verdict(field: str, ours: str, theirs: str) -> str:
    if field in ("family", "given", "patronymic"):
        if name_key(ours) == name_key(theirs):
            return "same"
        if name_frame(ours) == name_frame(theirs) or _one_apart(name_key(ours), name_key(theirs)):
            return "alike"
        return "different"
    if ours == theirs:
        return "same"
    if field == "address":
        return "same" if name_key(ours) == name_key(theirs) else "different"
    if field == "birth_date":
        return "alike" if _is_birth_alike(ours, theirs) else "different"
    if field in ("pinfl", "phone"):
        return "alike" if _one_apart(ours, theirs) else "different"
    return "different"


def _is_birth_alike(ours: str, theirs: str) -> bool:
    left, right = ours.split("-"), theirs.split("-")
    if len(left) != len(right):
        return all(a == b for a, b in zip(left, right, strict=False))
    if len(left) == 3 and left[0] == right[0] and left[1:] == right[:0:-1]:
        return True
    return sum(a != b for a, b in zip(left, right, strict=True)) == 1


def _one_apart(left: str, right: str) -> bool:
    """Whether one letter was changed, left out, put in or swapped with its neighbour."""
    if abs(len(left) - len(right)) > 1:
        return False
    start = 0
    while start < min(len(left), len(right)) and left[start] == right[start]:
        start += 1
    a, b = left[start:], right[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (
        len(a) > 1 and len(b) > 1 and a[0] == b[1] and a[1] == b[0] and a[2:] == b[2:])


def sound_of(names: str) -> set[str]:
    """The skeletons of the words of names, to count how many of one are in another."""
    return set(name_key(names).split())
