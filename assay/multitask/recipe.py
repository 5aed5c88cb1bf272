"""How raw columns are prepared for several targets: as for one, with what is learned from targets learned from all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.data.prepare import Preparation, Recipe, fit
from assay.data.table import Table
from assay.families import Target
from assay.multitask.targets import Truth

MOST = 8  # columns of targets that means are taken of


@dataclass(frozen=True)
class MultiRecipe:
    """The wish for a design matrix (see `Recipe`) whose target means, if it has any, are those of every target."""

    plain: Recipe

    def fit(
        self, table: Table, y: np.ndarray, target: Target, seed: int, weight: np.ndarray | None = None
    ) -> tuple[Preparation, np.ndarray]:
        """Fit on the training rows of a fold.  y: a `Truth`."""
        assert isinstance(y, Truth)
        signals = profile(y)
        several = Target("regression", n_targets=signals.shape[1])
        return fit(self.plain, table, signals, several, seed, weight)


def profile(truth: Truth) -> np.ndarray:
    """What category means are taken of: scaled numbers and class indicators, missing labels at the mean.  (n, m), m <= MOST."""
    columns: list[np.ndarray] = []
    for i, target in enumerate(truth.targets):
        rows, y = truth.column(i)
        codes = range(1, len(target.classes)) if target.classes else (None,)
        for code in codes:
            known = y.astype(np.float64) if code is None else (y == code).astype(np.float64)
            spread = float(known.std()) if len(known) else 0.0
            full = np.zeros(len(truth))
            if spread > 0:
                full[rows] = (known - known.mean()) / spread
            columns.append(full)
    if len(columns) <= MOST:
        return np.column_stack(columns)
    # one of every target, then the rest until there are MOST
    starts = np.cumsum([0, *(max(1, len(t.classes) - 1) for t in truth.targets)])[:-1].tolist()
    order = [*starts, *(j for j in range(len(columns)) if j not in set(starts))]
    return np.column_stack([columns[j] for j in order[:MOST]])
