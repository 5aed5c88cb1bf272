"""Measures of masks, against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from assay.metrics import METRICS

TRUTH = [np.array([[0, 0, 1], [2, 2, 255]], np.uint8)]
FOUND = [np.array([[0, 1, 1], [2, 0, 1]], np.uint8)]


def test_by_hand() -> None:
    # class 0: 1 right of 3; class 1: 1 of 2; class 2: 1 of 2; the pixel of 255 counts nowhere
    assert METRICS["mean_iou"].value(TRUTH, FOUND) == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 3)
    assert METRICS["pixel_accuracy"].value(TRUTH, FOUND) == pytest.approx(3 / 5)
    assert METRICS["dice"].value(TRUTH, FOUND) == pytest.approx((2 / 4 + 2 / 3 + 2 / 3) / 3)


def test_a_perfect_mask_has_one_in_all() -> None:
    for name in ("mean_iou", "pixel_accuracy", "dice"):
        assert METRICS[name].value(TRUTH, TRUTH) == 1.0


def test_without_a_counted_pixel_it_is_undefined() -> None:
    nobody = [np.full((2, 2), 255, np.uint8)]
    assert np.isnan(METRICS["mean_iou"].value(nobody, [np.zeros((2, 2), np.uint8)]))
