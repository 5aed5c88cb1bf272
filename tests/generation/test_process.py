"""A smooth function of cells: it finds the columns that matter, says what it would say of new rows, and the same by graph."""

from __future__ import annotations

import numpy as np

from assay.generation.process import Process, fit_process
from assay.generation.tell import Growing, fit_tell
from assay.model.graph import Port, Scope, encode

SIZES = (0, 0, 0, 4)
N = 240


def cells(seed: int, n: int = N) -> np.ndarray:
    """Three numbers, of which the last matters to nobody, and a word of four."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(size=(n, 3)) * [1, 20, 300], rng.integers(0, 4, (n, 1))], 1)
    x[::17, 0] = np.nan
    return x.astype(np.float32)


def bent(x: np.ndarray) -> np.ndarray:
    return np.asarray(
        np.sin(2 * np.nan_to_num(x[:, 0])) + 0.5 * np.cos(x[:, 1] / 10) + np.where(x[:, 3] == 2, 0.9, 0.0)
    )


def noisy(seed: int, n: int = N) -> tuple[np.ndarray, np.ndarray]:
    x = cells(seed, n)
    return x, bent(x) + 0.1 * np.random.default_rng([seed, 1]).normal(size=n)


def by_graph(process: Process, x: np.ndarray) -> np.ndarray:
    import onnxruntime

    scope = Scope()
    out = scope.add("Identity", process.emit(scope, "x"))
    graph = scope.graph(out).renamed({out: "out"})
    ports = [Port("x", "float32", ("N", x.shape[1]))]
    session = onnxruntime.InferenceSession(encode(graph, ports, [Port("out", "float32", ("N", 1))]))
    return np.asarray(session.run(["out"], {"x": x})[0]).ravel()


def test_few_rows_are_enough_to_learn_what_is_smooth_and_which_columns_matter() -> None:
    x, y = noisy(0)
    process, _ = fit_process(x, y, SIZES, 0)
    new = cells(1)
    assert np.sqrt(((process.at(new) - bent(new)) ** 2).mean()) < 0.2
    assert process.lengths[2] > 3 * process.lengths[:2].max()


def test_what_is_held_out_is_what_a_fit_without_the_row_says() -> None:
    x, y = noisy(0, 60)
    process, held = fit_process(x, y, SIZES, 0)
    assert np.abs(process.at(x) - y).mean() < np.abs(held - y).mean()
    new, truth = noisy(5, 400)
    error, new_error = (float(((a - b) ** 2).mean()) for a, b in ((held, y), (process.at(new), truth)))
    assert 0.5 < error / new_error < 2.0


def test_the_graph_says_the_same_of_missing_and_far_cells_and_of_words_never_seen() -> None:
    x, y = noisy(0)
    process, _ = fit_process(x, y, SIZES, 0)
    new = cells(2, 50)
    new[0, 1], new[1, 3] = 1e6, 9
    np.testing.assert_allclose(by_graph(process, new), process.at(new), atol=1e-5)
    np.testing.assert_allclose(by_graph(process.times(0.5), new), 0.5 * process.at(new), atol=1e-5)


def test_a_number_is_told_better_with_a_smooth_term_and_one_that_never_varies_does_no_harm() -> None:
    x, y = noisy(0)
    x[:, 2] = 7.0
    new = cells(3)
    new[:, 2] = 7.0
    plain, smooth = (fit_tell(x, y, 0, Growing(), 0, sizes) for sizes in (None, SIZES))
    errors = [float(((tell.said(new) - bent(new)) ** 2).mean()) for tell in (plain, smooth)]
    assert errors[1] < 0.6 * errors[0]
    assert plain.process is None and smooth.process is not None
