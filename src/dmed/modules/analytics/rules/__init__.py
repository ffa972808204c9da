"""Decisions: what of a record counts, how it is counted, and what stands out."""
