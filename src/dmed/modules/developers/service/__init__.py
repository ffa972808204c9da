"""Use cases of joining: the licence, the sandbox, the check, and going live."""
