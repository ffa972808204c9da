"""The synthetic country: invented people whose records fill every screen and test the store.

`generate` makes the records of a country or of a part of it, `digest` tells two countries apart,
`load` puts one into a database, `accounts` are the demo sign-ins with their posts.
"""

from dmed.apps.demo.country import UNTIL, Country, digest, generate
from dmed.apps.demo.loading import AlreadyThereError, Loaded, accounts, load

__all__ = [
    "UNTIL", "AlreadyThereError", "Country", "Loaded", "accounts", "digest", "generate", "load",
]  # fmt: skip  # A list of names reads better filled.
