"""Whole installations and files deduplicated, and weights learnt: Splink on DuckDB.

Only the commands of batch work load this; what serves requests needs neither package
(requirements/batch.lock). Decisions are made by `modules/medid/rules/scoring.py` alone: Splink
finds the pairs and learns, the platform's own scorer decides, so both ways say the same.
"""
