"""English sentences of refusals in the reader's language.

Floors below the screens refuse with one English sentence, which the API answers too. The locale
keys `said.*` hold the same sentences in every language; their English text is the pattern by which
a sentence is known again, and its `{places}` are the values. A sentence that no pattern knows is
shown as it is: better in English than not at all.
"""

from __future__ import annotations

import re
from functools import lru_cache

from dmed.kit.i18n import Speech, translator

_PREFIX = "said."
_PLACE = re.compile(r"\\\{(\w+)\\\}")


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Pattern and key of every known sentence, those with most fixed letters first."""
    texts = {key: text for key, text in translator().texts["en"].items() if key.startswith(_PREFIX)}
    ordered = sorted(texts, key=lambda key: len(re.sub(r"\{\w+\}", "", texts[key])), reverse=True)
    return [
        (re.compile(_PLACE.sub(r"(?P<\1>.*?)", re.escape(texts[key])), re.DOTALL), key)
        for key in ordered
    ]


def said(t: Speech, sentence: str) -> str:
    """A refusal's sentence in the reader's language, or as it came.

    A value named `state` is the state of a prescription's item and is said in words too.
    """
    for pattern, key in _patterns():
        found = pattern.fullmatch(sentence)
        if found is None:
            continue
        values = {name: t.figure(name, value) for name, value in found.groupdict().items()}
        if "state" in values:
            values["state"] = t(f"prescriptions.state.{values['state']}")
        if "role" in values:
            values["role"] = t(f"role.{values['role']}")
        return t(key, **values)
    return sentence
