"""Register of staff: practitioners, posts and licences."""

from __future__ import annotations

from dmed.trust.manifest import Manifest

MODULE = Manifest(name="workforce", titles={"uz": "Xodimlar", "ru": "Персонал", "en": "Staff"})
