from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from assay.data.series import GRID, REACH
from assay.families import Split, Target
from assay.model.graph import Port, Scope, encode
from assay.testing.toy_series import series_split
from search_spaces.series._seqheads import RidgePredictor, fit_ridge
from search_spaces.series._seqkernels import Kernels, dilations, fit_kernels
from search_spaces.series.interval_stats import draw_intervals
from search_spaces.series.minirocket import family
from search_spaces.tabular._answers import Classes


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


def test_sums_of_a_kernel_are_exact_in_float32_at_the_edge_of_what_series_hold() -> None:
    channels = 9
    weights = np.abs(fit_kernels(np.zeros((2, channels, 40), np.float32), 84, 0, differences=True).banks[-1].weight)
    largest = 2 * REACH * float(weights.sum((1, 2)).max())  # differences span twice the reach
    assert largest / GRID <= 2**24
    rng = np.random.default_rng(0)
    values = (rng.integers(-(2**17), 2**17, 12 * channels) * GRID).astype(np.float32)
    sums = {float(np.cumsum(rng.permutation(values), dtype=np.float32)[-1]) for _ in range(20)}
    assert len(sums) == 1


def test_the_ridge_answers_alike_in_the_graph_where_large_terms_cancel() -> None:
    import onnxruntime

    rng = np.random.default_rng(0)
    y = np.arange(4) % 2
    classes = Classes.of(Split(np.zeros((4, 1)), y, np.zeros((4, 1)), y, Target("binary", 2, "log_loss")))
    weight = rng.normal(size=(3000, 2))
    fitted = RidgePredictor(np.zeros(3000, np.float32), weight.astype(np.float32), np.zeros(2, np.float32), classes)
    far = 30 * rng.normal(size=(200, 3000))
    apart = weight[:, 1] - weight[:, 0]
    far -= np.outer(far @ apart, apart / (apart @ apart))  # terms of 30 that sum to nearly nothing
    far = far.astype(np.float32)
    graph = fitted.to_onnx("x")
    named = graph.renamed({graph.output: "y"})
    model = encode(named, [Port("x", "float32", [None, 3000])], [Port("y", "float32", [None, 2])])
    found = onnxruntime.InferenceSession(model).run(None, {"x": far})[0]
    np.testing.assert_allclose(np.log(found), np.log(fitted.predict(far)), atol=2e-6)


def test_intervals_of_a_constant_have_no_slope_in_the_graph_either() -> None:
    import onnxruntime

    spans = draw_intervals(251, 24, 0)
    x = np.stack([np.full((1, 251), v, np.float32) for v in (1.0, -1.0, 0.1, 1 / 3)])
    scope = Scope()
    graph = scope.graph(spans.add(scope, "x"))
    model = encode(graph, [Port("x", "float32", [None, 1, 251])], [Port(graph.output, "float32", [None, 240])])
    found = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    assert np.array_equal(found, spans.of(x))
