"""What rows have to be compared with: a Gaussian mixture over standardised numbers and one-hot words.

The simplest generator that knows of several kinds of rows, as anybody would fit it with scikit-learn.  What is harder to
tell from real rows than its samples are has been worth the trouble.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import numpy as np

from assay.data.table import ColumnType, Table, Words

COMPONENTS = (1, 2, 4, 8, 16, 32)  # the best by BIC is taken
RIDGE = 1e-3
WIDE = 60  # columns from which the components have diagonal covariances
ROWS_EACH = 10  # of a component, at least

Back = Callable[[np.ndarray], np.ndarray]


def mixture(train: Table) -> dict[str, np.ndarray]:
    """As many samples as there are rows, by column; missing numbers count as the median, and are not drawn."""
    from sklearn.mixture import GaussianMixture

    blocks, back = _matrix(train)
    x = np.concatenate(blocks, 1)
    form = "diag" if x.shape[1] > WIDE else "full"
    sizes = [k for k in COMPONENTS if k < len(x) // ROWS_EACH] or [1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # converged or not
        fits = [GaussianMixture(k, covariance_type=form, reg_covar=RIDGE, random_state=0).fit(x) for k in sizes]
    best = min(fits, key=lambda m: m.bic(x))
    drawn = np.random.default_rng(0).permutation(best.sample(len(x))[0])
    found, at = {}, 0
    for block, (name, undo) in zip(blocks, back, strict=True):
        found[name] = undo(drawn[:, at : at + block.shape[1]])
        at += block.shape[1]
    return found


def _matrix(train: Table) -> tuple[list[np.ndarray], list[tuple[str, Back]]]:
    blocks: list[np.ndarray] = []
    back: list[tuple[str, Back]] = []
    for name, column in train.columns.items():
        if isinstance(column, Words):
            levels = np.append(column.levels, "").astype(object)
            blocks.append((column.codes[:, None] % len(levels) == np.arange(len(levels))[None]).astype(float))
            back.append((name, partial(_word, levels)))
            continue
        known = train.numbers(name)
        middle = float(np.nanmedian(known)) if np.isfinite(known).any() else 0.0
        filled = np.where(np.isfinite(known), known, middle)
        mean, deviation = float(filled.mean()), float(filled.std()) or 1.0
        blocks.append(((filled - mean) / deviation)[:, None])
        back.append((name, partial(_number, mean, deviation, train.types[name] is ColumnType.INTEGER)))
    return blocks, back


def _word(levels: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.asarray(levels[z.argmax(1)])


def _number(mean: float, deviation: float, whole: bool, z: np.ndarray) -> np.ndarray:
    value = z[:, 0] * deviation + mean
    return np.asarray(np.round(value) if whole else value)
