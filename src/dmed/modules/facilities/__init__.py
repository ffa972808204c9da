"""Institutions, pharmacies, departments and their licences."""

from __future__ import annotations

from dmed.trust.manifest import Manifest

MODULE = Manifest(
    name="facilities",
    titles={"uz": "Muassasalar", "ru": "Учреждения", "en": "Institutions"},
)
