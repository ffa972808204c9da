"""The staff register through the gateway: facts for others, lists, files, orders, counts."""

from dmed.modules.workforce.service.following import follow
from dmed.modules.workforce.service.reading import licence_valid, practitioner, staff

__all__ = ["follow", "licence_valid", "practitioner", "staff"]
