"""Makes an interpreter what the base install is: without the extra `report`, which costs every build a second."""

from __future__ import annotations

import sys

sys.modules["matplotlib"] = None
