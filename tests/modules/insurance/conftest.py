"""The same room and pharmacies as the tests of prescriptions have."""

import runpy
from pathlib import Path

_shared = runpy.run_path(str(Path(__file__).parents[1] / "prescriptions" / "conftest.py"))
ward = _shared["ward"]
