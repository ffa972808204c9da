"""The staff register through the gateway: facts for others, lists, files, orders, counts."""

from dmed.modules.workforce.service.reading import licence_valid, practitioner, staff

__all__ = ["licence_valid", "practitioner", "staff"]
