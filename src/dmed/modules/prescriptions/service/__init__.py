"""Use cases of prescriptions: load, decide, store. `api` is the door for everybody else."""
