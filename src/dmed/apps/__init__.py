"""Web, worker and command line: the only rooms that know every module."""
