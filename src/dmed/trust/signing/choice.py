"""Which signer an installation has chosen (DMED_SIGNER)."""

from __future__ import annotations

from functools import lru_cache

from dmed.kit.errors import DmedError
from dmed.kit.settings import Settings
from dmed.trust.signing import eimzo, embedded
from dmed.trust.signing.model import Signer, Verifier


def is_outside(settings: Settings) -> bool:
    """Whether the person's own program signs, so that the document is shown first."""
    return settings.signer == "eimzo"


@lru_cache(maxsize=8)
def signer(settings: Settings) -> Signer:
    """The signer of an installation; DmedError for a wrong or half-made choice."""
    if settings.signer == "embedded":
        return embedded.EmbeddedSigner(settings)
    if settings.signer == "eimzo":
        return eimzo.signer(settings)
    raise DmedError(f"DMED_SIGNER: {settings.signer!r} is neither embedded nor eimzo")


def verifier_of(settings: Settings, made_by: str) -> Verifier:
    """The verifier of signatures that were made by a signer, also after another was chosen."""
    if made_by == "eimzo":
        return eimzo.EimzoVerifier(eimzo.read_roots(settings.eimzo_roots))
    return embedded.EmbeddedVerifier(embedded.authority(settings).root)
