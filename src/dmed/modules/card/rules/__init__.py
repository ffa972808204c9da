"""Decisions and readings of the card as pure functions: records in, frozen facts out."""
