"""Runs published test suites from any folder of their format: `dmed conformance SUITE DIR`.

One reader a suite; each gives a Verdict for every case, in the suite's order. `data/reasons.json`
holds the reviewed reason of each case that does not pass in the folders we hold.
"""

from dmed.apps.conformance.model import Verdict
from dmed.apps.conformance.running import SUITES, run, run_all

__all__ = ["SUITES", "Verdict", "run", "run_all"]
