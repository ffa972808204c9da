"""Decisions of the counter as pure functions: reading a pack's code, judging a pack."""
