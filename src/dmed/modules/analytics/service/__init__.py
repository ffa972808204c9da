"""Use cases: counting, figures with peers, flags and cases."""
