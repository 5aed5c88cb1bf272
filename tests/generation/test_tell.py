"""Cells told from other cells: shares that are those of new rows, errors as large as they are, and the same by graph."""

from __future__ import annotations

import numpy as np
import pytest

from assay.generation.tell import MOST_CODES, SHARES, Growing, Tell, fit_tell
from assay.model.graph import Port, Scope, encode

N = 900


def cells(seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(N, 3)).astype(np.float32)
    x[::11, 2] = np.nan
    return x


def number(x: np.ndarray, seed: int) -> np.ndarray:
    """A slope along the first cell, and noise that is four times as large where the second is above zero."""
    noise = np.random.default_rng(seed).normal(size=len(x))
    return np.asarray(0.8 * x[:, 0] + np.where(x[:, 1] > 0, 0.4, 0.1) * noise)


def drawn(tell: Tell, x: np.ndarray, seed: int = 0) -> np.ndarray:
    import onnxruntime

    scope = Scope()
    out = scope.add("Identity", tell.emit(scope, "x", "u"))
    dtype, shape = ("int64", ("N",)) if tell.size else ("float32", ("N", 1))
    ports = [Port("x", "float32", ("N", x.shape[1])), Port("u", "float32", ("N", 1))]
    graph = scope.graph(out).renamed({out: "out"})
    session = onnxruntime.InferenceSession(encode(graph, ports, [Port("out", dtype, shape)]))
    u = np.random.default_rng(seed).random((len(x), 1)).astype(np.float32)
    return np.asarray(session.run(["out"], {"x": x, "u": u})[0]).ravel()


def test_numbers_are_drawn_around_what_is_said_with_errors_of_their_place() -> None:
    x = cells(0)
    tell = fit_tell(x, number(x, 1), 0, Growing(), 0)
    new = cells(2)
    made, truth = drawn(tell, new), number(new, 3)
    assert np.corrcoef(made, new[:, 0])[0, 1] == pytest.approx(np.corrcoef(truth, new[:, 0])[0, 1], abs=0.05)
    wide = new[:, 1] > 0.3
    errors = made - 0.8 * new[:, 0]
    assert errors[wide].std() > 1.7 * errors[new[:, 1] < -0.3].std()
    assert np.log(tell.density(new, truth)).mean() > np.log(tell.density(new, truth[::-1])).mean() + 0.3


@pytest.mark.parametrize("size", [2, 3])
def test_codes_are_drawn_by_shares_that_are_not_surer_than_new_rows_allow(size: int) -> None:
    rng = np.random.default_rng(1)
    x = cells(0)
    y = np.digitize(x[:, 0] + 0.8 * rng.normal(size=N), np.linspace(-0.5, 0.5, size - 1))
    tell = fit_tell(x, y, size, Growing(), 0)
    new = cells(5)
    share = tell.shares(new)
    truth = np.digitize(new[:, 0] + 0.8 * rng.normal(size=N), np.linspace(-0.5, 0.5, size - 1))
    np.testing.assert_allclose(share.sum(1), 1, atol=1e-9)
    sure = share.max(1)
    assert sure.mean() == pytest.approx((share.argmax(1) == truth).mean(), abs=0.06)
    made = drawn(tell, new)
    np.testing.assert_allclose(np.bincount(made, minlength=size) / N, share.mean(0), atol=0.05)


def test_many_codes_come_from_the_leaves_of_one_tree() -> None:
    x, size = cells(0), MOST_CODES + 5
    y = np.clip(np.floor((x[:, 0] + 2) / 4 * size), 0, size - 1).astype(np.int64)
    tell = fit_tell(x, y, size, Growing(), 0)
    assert not tell.forests
    assert np.abs(drawn(tell, x) - y).mean() < 4


def test_a_cell_that_nothing_tells_keeps_its_spread() -> None:
    x = np.zeros((N, 1), np.float32)
    y = np.random.default_rng(0).normal(size=N)
    made = drawn(fit_tell(x, y, 0, Growing(), 0), x)
    np.testing.assert_allclose(np.quantile(made, [0.05, 0.5, 0.95]), np.quantile(y, [0.05, 0.5, 0.95]), atol=0.2)
    assert len(np.unique(made)) > N // 2


def test_few_rows_on_a_straight_line_need_no_steps() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 6)).astype(np.float32)
    x[::7, 5] = np.nan
    slope = np.array([1.0, -1.0, 0.5, 0.5, -0.5, 0.0])
    tell = fit_tell(x, np.nan_to_num(x) @ slope + 0.1 * rng.normal(size=120), 0, Growing(), 0)
    assert tell.line is not None
    new = rng.normal(size=(500, 6)).astype(np.float32)
    error = drawn(tell, new) - new @ slope
    assert error.std() < 0.3
    bent = fit_tell(cells(0), np.abs(cells(0)[:, 0]) * 2, 0, Growing(), 0)
    assert np.corrcoef(drawn(bent, cells(1)), np.abs(cells(1)[:, 0]))[0, 1] > 0.97


def test_what_the_errors_of_a_leaf_share_by_chance_moves_nothing() -> None:
    """Noise around a line of few rows: draws lie around the line, not around the means of the leaves' few errors."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 5)).astype(np.float32)
    tell = fit_tell(x, x[:, 0] + rng.normal(size=150), 0, Growing(), 0)
    assert tell.table is not None
    middles = (np.diff(SHARES) * (tell.table[:, 1:] + tell.table[:, :-1]) / 2).sum(1)
    assert np.abs(middles).mean() < 0.12
    shifted = fit_tell(np.zeros((150, 1), np.float32), 3 + 0.01 * rng.normal(size=150), 0, Growing(), 0)
    assert drawn(shifted, np.zeros((50, 1), np.float32)).mean() == pytest.approx(3, abs=0.05)


def test_calm_makes_errors_smaller_and_shares_sharper() -> None:
    x = cells(0)
    plain = fit_tell(x, number(x, 1), 0, Growing(), 0)
    calm = plain.calmed(0.5)
    assert plain.table is not None and calm.table is not None
    np.testing.assert_allclose(calm.table, 0.5 * plain.table)
    y = (x[:, 0] + np.random.default_rng(0).normal(size=N) > 0).astype(np.int64)
    plain = fit_tell(x, y, 2, Growing(), 0)
    calm = plain.calmed(0.5)
    assert calm.shares(x).max(1).mean() > plain.shares(x).max(1).mean() + 0.02


@pytest.mark.parametrize("edges", [(1.6,), (-1.7, 1.6)])
def test_calm_leaves_rare_codes_as_frequent_as_they_are(edges: tuple[float, ...]) -> None:
    x, new, rare = cells(0), cells(1), len(edges)
    y = np.digitize(x[:, 0] + np.random.default_rng(0).normal(size=N), edges)
    plain = fit_tell(x, y, rare + 1, Growing(), 0)
    calm = plain.calmed(0.4)
    before, share = plain.shares(new), calm.shares(new)
    np.testing.assert_allclose(share.mean(0), before.mean(0), atol=0.03)
    assert share[:, rare].max() > before[:, rare].max() + 0.1
    made = np.bincount(drawn(calm, new), minlength=rare + 1) / N
    np.testing.assert_allclose(made, share.mean(0), atol=0.05)
