"""Use cases of the register: the starting catalogue, what is in force, feeds and their records."""

from dmed.modules.medicines.service.force import (
    catalogue,
    find_inn,
    find_preparation,
    find_product,
)

__all__ = ["catalogue", "find_inn", "find_preparation", "find_product"]
