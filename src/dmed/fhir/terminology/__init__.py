"""Codes, value sets and concept maps: what they hold, and the answers of the terminology
operations. Pure: content is put on the shelf of a `Library` by others.

https://hl7.org/fhir/R5/terminology-module.html
"""

from dmed.fhir.terminology.library import Library
from dmed.fhir.terminology.model import TooCostlyError, UnknownContentError

__all__ = ["Library", "TooCostlyError", "UnknownContentError"]
