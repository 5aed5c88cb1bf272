"""The mask that keeps a PixelCNN from looking ahead."""

from __future__ import annotations

import numpy as np


def causal_mask(outputs: int, inputs: int, kernel: int, channels: int, own: bool) -> np.ndarray:
    """0/1 float32 (outputs, inputs, kernel, kernel): what comes before in raster order.  Features belong to the channels in
    turn; at the centre a feature sees those of earlier channels, and (own) of its own."""
    mask = np.ones((outputs, inputs, kernel, kernel), np.float32)
    middle = kernel // 2
    mask[:, :, middle + 1 :] = 0
    mask[:, :, middle, middle + 1 :] = 0
    out, into = np.arange(outputs) * channels // outputs, np.arange(inputs) * channels // inputs
    mask[:, :, middle, middle] = (out[:, None] >= into[None]) if own else (out[:, None] > into[None])
    return mask
