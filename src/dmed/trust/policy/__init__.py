"""The policy as data: roles, care relationships, sensitivity. `trust.decide` reads it."""
