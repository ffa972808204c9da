"""DMED: an open national digital-health platform on one FHIR R5 record store."""

__version__ = "0.1.0"
