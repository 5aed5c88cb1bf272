"""What is learned on top of an ensemble from out-of-fold predictions: how sure it may be, and when to say yes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assay.metrics import Metric
from assay.model.compose import combine, pooled
from assay.model.correct import FLOOR

ROWS = 300  # validation rows below which nothing is learned: chance would
BOUNDS = (0.4, 2.5)  # of a temperature
PRIOR_SPREAD = 0.35  # of the logarithm of a single net's temperature, before its rows are seen
STACK_ROWS = 2_000  # validation rows below which members are not stacked
MOST_STACK_ROWS = 10_000  # more change a dozen exponents little and cost seconds
STACK_GAIN = 1e-3  # relative gain in log-loss, on rows not used for fitting, that stacking must bring
PULL = 1e-3  # of exponents to the weights of the mean
LEAST_ROWS = 10  # a class counts as frequent as if it had so many: rarer ones would answer for everything
GAIN = 1e-4  # relative gain in log-loss, on rows not used for fitting, that a temperature must bring
TUNED = frozenset({"f1", "f1_macro", "f1_weighted", "balanced_accuracy", "matthews_corrcoef", "accuracy"})
OF_LABELS = TUNED | {"precision", "recall"}  # metrics that look at labels alone
CUTS = 200  # thresholds tried
NEAR = 0.25  # standard errors of the metric: thresholds this close to the best are as good, and the middle one is taken


def fit_temperature(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None = None) -> float:
    """The temperature of the power p^(1/T), normalised, that lowers log-loss; 1.0 where it does not help unseen rows.

    Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks.  ICML 2017.  y: codes (n,); p: (n, k).
    Whether it helps is judged by fitting on either half and measuring on the other.
    """
    n = len(y)
    if n < ROWS:
        return 1.0
    w = np.ones(n) if weight is None else weight
    half = np.arange(n) % 2 == 0
    before = after = 0.0
    for fit, judge in ((half, ~half), (~half, half)):
        t = _best_temperature(y[fit], p[fit], w[fit])
        before += _loss(y[judge], p[judge], w[judge], 1.0)
        after += _loss(y[judge], p[judge], w[judge], t)
    return _best_temperature(y, p, w) if after < before * (1.0 - GAIN) else 1.0


def likely_temperature(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None = None) -> float:
    """The temperature of the power p^(1/T), normalised, that rows of one trial make likely, however few they are.

    For a net that was trained towards smoothed targets and so doubts what it knows: members of an ensemble are chosen by
    log-loss where rows are few, and doubt would count as error.  The log-temperature has a normal prior around 0, so that
    a handful of right answers makes no certainty.  y: codes (n,); p: (n, k); 1.0 without rows.
    """
    if not len(y):
        return 1.0
    from scipy.optimize import minimize_scalar

    w = np.ones(len(y)) if weight is None else weight

    def unlikely(t: float) -> float:
        return len(y) * _loss(y, p, w, float(np.exp(t))) + 0.5 * (t / PRIOR_SPREAD) ** 2

    low, high = np.log(BOUNDS)
    return float(np.exp(minimize_scalar(unlikely, bounds=(low, high), method="bounded").x))


def fit_exponents(
    y: np.ndarray,
    predictions: Sequence[np.ndarray],
    weights: Sequence[float],
    temperature: float,
    metric: Metric,
    weight: np.ndarray | None = None,
) -> np.ndarray | None:
    """Exponents (m,) of the members' product that is better than their mean on unseen rows; None where it is not.

    Stacking by log-loss over the members' log-probabilities, drawn to the mean's weights; exponents are not negative.
    Fitted on either half of the rows and judged on the other, by log-loss and by the job's metric.
    """
    if len(y) < STACK_ROWS or len(predictions) < 2:
        return None
    every = -(-len(y) // MOST_STACK_ROWS)
    y, predictions = y[::every], [p[::every] for p in predictions]
    weight = None if weight is None else weight[::every]
    n, k = predictions[0].shape
    w = np.ones(n) if weight is None else weight
    logs = np.stack([np.log(np.clip(p, FLOOR, 1.0)) for p in predictions])
    start = np.asarray(weights) / temperature
    mean = combine(predictions, weights, k, temperature)
    half = np.arange(n) % 2 == 0
    stacked = np.empty_like(mean)
    for fit, judge in ((half, ~half), (~half, half)):
        stacked[judge] = pooled(logs[:, judge], _best_exponents(y[fit], logs[:, fit], w[fit], start))
    before, after = (_loss(y, p, w, 1.0) for p in (mean, stacked))
    better = after < before * (1.0 - STACK_GAIN) and metric.score(y, stacked, weight) >= metric.score(y, mean, weight)
    return _best_exponents(y, logs, w, start) if better else None


def _best_exponents(y: np.ndarray, logs: np.ndarray, w: np.ndarray, start: np.ndarray) -> np.ndarray:
    from scipy.optimize import minimize

    rows, share = np.arange(len(y)), w / w.sum()
    said = logs[:, rows, y]  # (m, n)

    def loss(a: np.ndarray) -> tuple[float, np.ndarray]:
        p = pooled(logs, a)
        value = -np.log(np.clip(p[rows, y], 1e-15, 1.0)) @ share
        gradient = ((p * logs).sum(2) - said) @ share
        pull = a - start
        return float(value + PULL * pull @ pull), gradient + 2 * PULL * pull

    found = minimize(
        loss, start, jac=True, bounds=[(0.0, None)] * len(start), method="L-BFGS-B", options={"maxiter": 60}
    )
    return np.asarray(found.x)


def fit_threshold(y: np.ndarray, p: np.ndarray, metric: Metric, weight: np.ndarray | None = None) -> float | None:
    """The probability of class 1 from which it is answered; None to answer the more probable class.

    For metrics of labels with two classes.  Among thresholds as good as the best within a fraction of the metric's
    standard error the middle one is taken: a lone peak is luck.
    """
    if metric.name not in TUNED or p.shape[1] != 2 or len(y) < ROWS:
        return None
    cuts = np.unique(np.quantile(p[:, 1], np.linspace(0.002, 0.998, CUTS)))
    scores = np.array([_at(y, p, metric, weight, t) for t in cuts])
    plain = _at(y, p, metric, weight, 0.5)
    if not np.isfinite(scores).any() or np.nanmax(scores) <= plain:
        return None
    best = int(np.nanargmax(scores))
    error = _standard_error(y, p, metric, weight, float(cuts[best]))
    if scores[best] - plain < NEAR * error:
        return None
    good = scores >= scores[best] - NEAR * error
    low = high = best
    while low > 0 and good[low - 1]:
        low -= 1
    while high + 1 < len(cuts) and good[high + 1]:
        high += 1
    return float(np.clip((cuts[low] + cuts[high]) / 2, 1e-6, 1.0 - 1e-6))


def _at(y: np.ndarray, p: np.ndarray, metric: Metric, weight: np.ndarray | None, threshold: float) -> float:
    yes = (p[:, 1] >= threshold).astype(np.float64)
    return metric.score(y, np.column_stack([1.0 - yes, yes]), weight)


def _standard_error(y: np.ndarray, p: np.ndarray, metric: Metric, weight: np.ndarray | None, threshold: float) -> float:
    """By the bootstrap, 30 draws."""
    rng = np.random.default_rng(0)
    draws = (rng.integers(0, len(y), len(y)) for _ in range(30))
    found = [_at(y[i], p[i], metric, None if weight is None else weight[i], threshold) for i in draws]
    return float(np.nanstd(found))


def fit_factors(
    y: np.ndarray, p: np.ndarray, metric: Metric, weight: np.ndarray | None = None
) -> tuple[float, ...] | None:
    """A factor for the probability of each of many classes before the largest is answered; None for no factors.

    The factors are the classes' shares to the power -a.  a = 1 is the best answer by balanced accuracy if probabilities are
    right (Elkan: The Foundations of Cost-Sensitive Learning.  IJCAI 2001), 0 that by accuracy; what a metric wants lies
    between.  One number is learned, so hardly any chance; it must gain on either half of the rows what it found on the other.
    """
    if metric.name not in TUNED or p.shape[1] < 3 or len(y) < ROWS:
        return None
    w = np.ones(len(y)) if weight is None else weight
    shares = np.bincount(y, w, p.shape[1]) / w.sum()
    shares = np.maximum(shares, LEAST_ROWS / len(y))
    powers = np.linspace(0.0, 1.2, 13)
    answers = [(p * shares**-a).argmax(1) for a in powers]
    codes = np.eye(p.shape[1])

    def score(a: int, rows: np.ndarray) -> float:
        return metric.score(y[rows], codes[answers[a][rows]], None if weight is None else weight[rows])

    half = np.arange(len(y)) % 2 == 0
    gained = 0.0
    for fit, judge in ((half, ~half), (~half, half)):
        best = int(np.nanargmax([score(a, fit) for a in range(len(powers))]))
        gained += score(best, judge) - score(0, judge)
    if not gained > 0:
        return None
    best = int(np.nanargmax([score(a, np.ones(len(y), bool)) for a in range(len(powers))]))
    factors = shares ** -powers[best]
    return tuple((factors / factors.max()).tolist()) if best else None


def _best_temperature(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> float:
    from scipy.optimize import minimize_scalar

    low, high = np.log(BOUNDS)
    found = minimize_scalar(lambda t: _loss(y, p, w, float(np.exp(t))), bounds=(low, high), method="bounded")
    return float(np.exp(found.x))


def _loss(y: np.ndarray, p: np.ndarray, w: np.ndarray, temperature: float) -> float:
    q = combine([p], [1.0], p.shape[1], temperature)
    return float(np.average(-np.log(np.clip(q[np.arange(len(y)), y], 1e-15, 1.0)), weights=w))
