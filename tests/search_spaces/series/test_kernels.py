from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from assay.families import Split, Target
from assay.testing.toy_series import series_split
from search_spaces.series._seqheads import fit_ridge
from search_spaces.series._seqkernels import Kernels, dilations, fit_kernels
from search_spaces.series.minirocket import family


def counted(kernels: Kernels, x: np.ndarray) -> np.ndarray:
    """The features by their definition, one shift after the other, in float64."""
    parts = []
    for bank in kernels.banks:
        source = (np.diff(x, axis=2) if bank.source else x).astype(np.float64)
        pad = 4 * bank.dilation if bank.padded else 0
        wide = np.pad(source, ((0, 0), (0, 0), (pad, pad)))
        n_out = wide.shape[2] - 8 * bank.dilation
        z = sum(
            np.einsum("ncl,mc->nml", wide[:, :, k * bank.dilation : k * bank.dilation + n_out], bank.weight[:, :, k])
            for k in range(9)
        )
        for border in bank.thresholds.T.astype(np.float64):
            over = z - border[:, None]
            parts.append((over > 0).mean(2))
            if kernels.means:
                parts.append(np.maximum(over, 0).mean(2))
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize(("n_channels", "differences", "means"), [(1, False, False), (2, True, False), (1, True, True)])
def test_features_are_what_their_definition_says(n_channels: int, differences: bool, means: bool) -> None:
    split = series_split("multiclass", family.recipe(family.Config()), n_channels)
    kernels = fit_kernels(split.x, 500, 0, differences, means)
    found, expected = kernels.of(split.x_valid), counted(kernels, split.x_valid)
    assert found.shape == expected.shape
    np.testing.assert_allclose(np.sort(found, axis=1), np.sort(expected, axis=1), atol=2e-6)


def test_kernels_fit_into_the_series_and_short_series_have_one_dilation() -> None:
    assert dilations(5) == [1]
    assert all(8 * d < 100 for d in dilations(100)) and len(dilations(100)) > 4


def test_the_leave_one_out_penalty_ignores_noise() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    noise = rng.normal(size=(80, 40)).astype(np.float32)
    told = noise.copy()
    told[:, 0] += 6 * y
    data = Split(told, y, told, y, Target("binary", 2, "log_loss"))
    fresh = rng.normal(size=(400, 40)).astype(np.float32)
    p = fit_ridge(noise, replace(data, x=noise), 0).predict(fresh)[:, 1]
    assert np.abs(p - 0.5).mean() < 0.2, "there is nothing to learn: probabilities stay near the shares"
    codes = np.arange(400) % 2
    fresh[:, 0] += 6 * codes
    assert (fit_ridge(told, data, 0).predict(fresh).argmax(1) == codes).mean() > 0.75
