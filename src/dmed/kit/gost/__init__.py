"""GOST R 34.11-94 and GOST R 34.10-2001 in plain Python.

O'zDSt 1106:2009 and O'zDSt 1092:2009 (algorithm 2) are the same under national names. Made for
verifying: nothing here hides its timing, so no real secret key belongs in it (the simulator's are
thrown away).
"""
