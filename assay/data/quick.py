"""A small boosted model that helps to prepare data: what it leaves unexplained, and which columns it needs."""

from __future__ import annotations

import numpy as np

ROWS = 4000  # looked at; more change what is chosen little and cost time
ROUNDS = 60
MOST_VALUES = 3  # columns of the target's signal that are looked at
SHADOWS = 40  # shuffled columns that show what chance brings
LOOKED_AT = 0.7  # of the columns, by each tree

_SETTINGS = {
    "objective": "regression", "learning_rate": 0.15, "num_leaves": 15, "min_child_samples": 10, "feature_fraction": LOOKED_AT,
    "max_bin": 63, "num_threads": 1, "verbosity": -1, "deterministic": True, "force_row_wise": True,
}  # fmt: skip


def sample(n: int, seed: int) -> np.ndarray:
    """Up to ROWS row positions, ascending."""
    rng = np.random.default_rng([seed, 11])
    return np.arange(n) if n <= ROWS else np.sort(rng.choice(n, ROWS, replace=False))


def main_values(values: np.ndarray) -> np.ndarray:
    """The few columns of a signal that vary most, scaled.  (n, m) -> (n, <= MOST_VALUES)."""
    spread = values.std(0)
    chosen = np.argsort(-spread, kind="stable")[:MOST_VALUES]
    chosen = chosen[spread[chosen] > 0]
    return np.asarray((values[:, chosen] - values[:, chosen].mean(0)) / spread[chosen])


def residuals(x: np.ndarray, values: np.ndarray, seed: int) -> np.ndarray:
    """What a quick model of the other half of the rows leaves unexplained.  x: (n, d); values: (n, m) -> (n, m)."""
    import lightgbm

    half = np.random.default_rng([seed, 12]).permutation(len(x)) % 2 == 0
    left = np.array(values, np.float64)
    for fit, judge in ((half, ~half), (~half, half)):
        for j in range(values.shape[1]):
            train = lightgbm.Dataset(x[fit], values[fit, j], params={**_SETTINGS, "seed": seed})
            booster = lightgbm.train({**_SETTINGS, "seed": seed}, train, ROUNDS)
            left[judge, j] -= booster.predict(x[judge], num_threads=1)
    return left


def needed(x: np.ndarray, values: np.ndarray, seed: int) -> np.ndarray:
    """Columns whose splits bring more than those of most shuffled copies do.  bool (d,).

    After Kursa, Rudnicki: Feature Selection with the Boruta Package.  Journal of Statistical Software 36, 2010: one
    round, and the fourth largest of SHADOWS shadows as the bar, since a useful column lost costs more than a useless one
    kept.
    """
    import lightgbm

    rng = np.random.default_rng([seed, 13])
    d = x.shape[1]
    copied = rng.choice(d, SHADOWS, replace=d < SHADOWS)
    shadows = np.column_stack([rng.permutation(x[:, j]) for j in copied])
    both = np.hstack([x, shadows])
    gain = np.zeros(both.shape[1])
    for j in range(values.shape[1]):
        train = lightgbm.Dataset(both, values[:, j], params={**_SETTINGS, "seed": seed})
        booster = lightgbm.train({**_SETTINGS, "seed": seed}, train, ROUNDS)
        gain += booster.feature_importance("gain")
    bar = np.sort(gain[d:] * d / SHADOWS if d < SHADOWS else gain[d:])[-4]
    return np.asarray(gain[:d] > bar)
