"""Features of pixels."""

from __future__ import annotations

import numpy as np

from assay.nn.images.fixed import Gradients
from search_spaces.image._pixels import computed


def test_no_pictures_have_features_of_the_usual_width() -> None:
    gradients = Gradients(side=16, cells=(8,), directions=9, colour=True)
    one = computed(gradients, np.zeros((1, 16, 16, 3), np.uint8))
    none = computed(gradients, np.zeros((0, 16, 16, 3), np.uint8))
    assert none.shape == (0, one.shape[1])
    assert none.dtype == one.dtype
