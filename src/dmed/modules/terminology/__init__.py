"""Terminology for everyone: what a code means, which codes a value set holds, what a code is
elsewhere. Content comes from R5 itself, from installed guides and from stored resources.
"""

from __future__ import annotations

from dmed.modules.terminology import operations, service
from dmed.trust.manifest import Manifest

MODULE = Manifest(
    name="terminology",
    titles={"uz": "Terminologiya", "ru": "Терминология", "en": "Terminology"},
    operations=operations.OPERATIONS,
    background=(service.follow,),
)
