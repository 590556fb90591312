"""The type of a NumPy array, for annotations only: import it under TYPE_CHECKING, so that nobody pays for numpy.

What an array holds is known when the program runs, not before: models decide it. So its element type stays open, here
and nowhere else.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
"""An array of any shape and element type."""
Dtype: TypeAlias = np.dtype[Any]
"""An element type."""
