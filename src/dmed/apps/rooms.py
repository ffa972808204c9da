"""The modules of this platform: the only list of them. Module 27 is one line more."""

from __future__ import annotations

from dmed.modules.access import MODULE as ACCESS
from dmed.modules.analytics import MODULE as ANALYTICS
from dmed.modules.card import MODULE as CARD
from dmed.modules.developers import MODULE as DEVELOPERS
from dmed.modules.facilities import MODULE as FACILITIES
from dmed.modules.glass import MODULE as GLASS
from dmed.modules.hooks import MODULE as HOOKS
from dmed.modules.insurance import MODULE as INSURANCE
from dmed.modules.medicines import MODULE as MEDICINES
from dmed.modules.medid import MODULE as MEDID
from dmed.modules.oversight import MODULE as OVERSIGHT
from dmed.modules.pharmacy import MODULE as PHARMACY
from dmed.modules.prescriptions import MODULE as PRESCRIPTIONS
from dmed.modules.reader import MODULE as READER
from dmed.modules.signing import MODULE as SIGNING
from dmed.modules.terminology import MODULE as TERMINOLOGY
from dmed.modules.workforce import MODULE as WORKFORCE
from dmed.trust.manifest import Manifest

MODULES: tuple[Manifest, ...] = (
    ACCESS, MEDID, CARD, FACILITIES, DEVELOPERS, WORKFORCE, MEDICINES, PRESCRIPTIONS,
    PHARMACY, HOOKS, READER, TERMINOLOGY, SIGNING, GLASS, OVERSIGHT, ANALYTICS,
    INSURANCE)
