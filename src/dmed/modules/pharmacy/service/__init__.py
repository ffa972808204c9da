"""Use cases of the counter: claim, scan, hand over, give back. `api` is the door."""
