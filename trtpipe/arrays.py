"""The type of a NumPy array, for annotations only: import it under TYPE_CHECKING, so that numpy is not loaded.

The element type depends on the model and is known only at run time, so it is left open, here and nowhere else.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
"""An array of any shape and element type."""
Dtype: TypeAlias = np.dtype[Any]
"""An element type."""
