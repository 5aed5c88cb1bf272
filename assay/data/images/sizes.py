"""How large the pictures of a column are, from their headers alone."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np

from assay.data.pixels import FORMATS
from assay.data.table import Blobs

SAMPLE = 400  # pictures looked at


def picture_sizes(column: Blobs) -> dict[str, Any]:
    """{"width": {min, median, max}, "height": ..., "longer_side": ...} of a sample; empty where none can be read."""
    from PIL import Image

    n = len(column)
    found = []
    for i in np.unique(np.linspace(0, n - 1, min(n, SAMPLE)).astype(int)) if n else ():
        data = column[int(i)]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(Image.open(io.BytesIO(data or b""), formats=FORMATS).size)
        except Exception:  # an unreadable picture has no size
            continue
    if not found:
        return {}
    sizes = np.array(found)
    named = {"width": sizes[:, 0], "height": sizes[:, 1], "longer_side": sizes.max(1)}
    return {k: {"min": int(v.min()), "median": int(np.median(v)), "max": int(v.max())} for k, v in named.items()}
