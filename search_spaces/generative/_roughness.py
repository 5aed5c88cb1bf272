"""How rough pictures are: what tells values that were drawn apart from each other from those of pictures."""

from __future__ import annotations

import numpy as np


def roughness(pictures: np.ndarray) -> float:
    """Mean size of the second differences along both sides.  pictures: (n, S, S, C)."""
    x = pictures.astype(np.float32)
    return float(np.mean([np.abs(np.diff(x, 2, axis=a)).mean() for a in (1, 2)]))
