"""Types of arrays that many modules share, each alias once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]
"""A picture (H, W, 3), 0 to 255."""
Labels = NDArray[np.int32]
"""A number for each pixel (H, W); 0 is the background."""
Floats = NDArray[np.float32]
"""Features, probabilities or maps of any shape."""
