"""Seasonal ARIMA by conditional least squares, orders chosen step by step with AICc, on values or on logarithms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np

from assay.families import Cost, Predictor, Shape, TrialContext
from assay.forecasting.problem import Past
from assay.space import Choice
from search_spaces.forecasting._maps import Map, Wish, likely, probe, reach, share
from search_spaces.forecasting._pace import Pace, expected

LATEST = 600
LONGEST_SEASON = 60
MOST_SERIES = 40  # the series that come after so many get the orders of the last of them
LARGEST_ORDER = 3
AVERAGED = 6  # models of the search whose forecasts are averaged by their AICc
LEAST_TESTED = 12  # values below which nothing is said of a unit root
REFUSED = -2.9  # the t statistic below which it is refused: 5 % of about a hundred values
Orders = tuple[int, int, int, int]  # p, q, P, Q


@dataclass(frozen=True)
class ARIMAConfig:
    """scale: "auto" takes logarithms of positive values that vary much.  seasonal_difference: "auto" by the strength of
    the season; difference: "auto" by a test of the level's drift."""

    scale: Annotated[str, Choice("values", "auto")] = "values"
    difference: Annotated[str, Choice("auto", "none", "once")] = "auto"
    seasonal_difference: Annotated[str, Choice("auto", "none", "once")] = "auto"


@dataclass(frozen=True, eq=False)
class Model:
    """ar, ma: polynomials in the lag, 1 first, of the differenced series less `mean`.  differences: (d, D, season)."""

    ar: np.ndarray
    ma: np.ndarray
    mean: float
    differences: tuple[int, int, int]
    criterion: float
    orders: Orders


class ARIMA:
    name: ClassVar[str] = "arima"
    tasks: ClassVar[frozenset[str]] = frozenset({"forecasting"})
    lane: ClassVar[str] = "cpu"
    rank: ClassVar[int] = -1  # before cheaper families: good on any series
    trust: ClassVar[float] = 1.0
    Config: ClassVar[type] = ARIMAConfig
    reference: ClassVar[str] = (
        "Hyndman, Khandakar: Automatic time series forecasting: the forecast package for R.  Journal of Statistical "
        "Software 27 (2008)"
    )

    def recipe(self, config: ARIMAConfig) -> Wish:
        return Wish()

    def steps(self, config: ARIMAConfig) -> int:
        return 1

    def cost(self, config: ARIMAConfig, shape: Shape) -> Cost:
        return Cost(0.2 + expected(1.5e-3 * shape.n_rows), 50_000_000)

    def fit(self, config: ARIMAConfig, data: Past, ctx: TrialContext) -> Predictor:
        maps: list[Map] = []
        pace = Pace(len(data.histories), ctx)
        models: list[Model] = []
        is_log = False
        for history in data.histories:
            y = history[-LATEST:]
            effort = pace.effort()
            if not models or effort:
                is_log = config.scale == "auto" and float(y.min()) > 0 and float(y.max()) > 1.5 * float(y.min())
                z = np.log(y) if is_log else y
                is_first = not models or (effort == 2 and len(maps) < MOST_SERIES)
                models = _chosen(z, data.season, config, None if is_first else models[0].orders)
            elif is_log and float(y.min()) <= 0:
                is_log, models = False, _chosen(y, data.season, config, models[0].orders)
            else:
                z = np.log(y) if is_log else y
                models = [_with_own_mean(z, model) for model in models]
            weights = likely([m.criterion for m in models])

            def run(x: np.ndarray, kept: list[Model] = models, weights: np.ndarray = weights) -> np.ndarray:
                return np.asarray(sum(w * forecasts(x, m, data.horizon) for m, w in zip(kept, weights, strict=True)))

            maps.append(probe(run, data.width, is_log, reach(history, data.season)))
            pace.done()
        return share(maps)


def forecasts(y: np.ndarray, model: Model, horizon: int) -> np.ndarray:
    """(n, horizon) from windows (n, width).  Affine in y."""
    from scipy.signal import lfilter

    d, seasonal, m = model.differences
    levels = [y]
    for step in [m] * seasonal + [1] * d:
        levels.append(levels[-1][:, step:] - levels[-1][:, :-step])
    w = levels[-1] - model.mean
    errors = lfilter(model.ar, model.ma, w, axis=1)
    p, q = len(model.ar) - 1, len(model.ma) - 1
    past = np.concatenate([np.zeros((len(w), p)), w], axis=1)
    shocks = np.concatenate([np.zeros((len(w), q)), errors], axis=1)
    for _ in range(horizon):
        nxt = (
            -past[:, past.shape[1] - p :][:, ::-1] @ model.ar[1:]
            + shocks[:, shocks.shape[1] - q :][:, ::-1] @ model.ma[1:]
        )
        past = np.concatenate([past, nxt[:, None]], axis=1)
        shocks = np.concatenate([shocks, np.zeros((len(w), 1))], axis=1)
    out = past[:, -horizon:] + model.mean
    steps = [m] * seasonal + [1] * d
    for level, step in zip(levels[-2::-1], steps[::-1], strict=True):
        whole = level[:, -step:]
        for h in range(horizon):
            whole = np.concatenate([whole, whole[:, -step][:, None] + out[:, h : h + 1]], axis=1)
        out = whole[:, -horizon:]
    return np.asarray(out)


def _chosen(y: np.ndarray, season: int, config: ARIMAConfig, orders: Orders | None) -> list[Model]:
    """The models of least AICc, best first; the one with these orders where they are given."""
    m = season if 1 < season <= LONGEST_SEASON and len(y) >= 3 * season + 4 else 1
    wanted = {"none": 0, "once": 1}
    seasonal = wanted.get(config.seasonal_difference, int(m > 1 and _strength(y, m) > 0.64)) if m > 1 else 0
    rest = y[m:] - y[:-m] if seasonal else y
    d = wanted.get(config.difference, _differences(rest, 2 - seasonal))
    if config.difference == "auto" and d == 0 and not seasonal and _strength(y, 1) > 0.98:
        d = 1
    differences = (d, seasonal, m)
    if orders is not None:
        return [_fitted(y, orders, differences)]
    most_seasonal = int(m > 1)
    starts: list[Orders] = [
        (2, 2, most_seasonal, most_seasonal),
        (0, 0, 0, 0),
        (1, 0, most_seasonal, 0),
        (0, 1, 0, most_seasonal),
    ]
    seen = {o: _fitted(y, o, differences) for o in dict.fromkeys(starts)}
    best = min(seen.values(), key=lambda f: f.criterion)
    while len(seen) < 30:
        p, q, sp, sq = best.orders
        near = [(p + a, q + b, sp, sq) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        near += [(p, q, sp + a, sq + b) for a in (-1, 0, 1) for b in (-1, 0, 1)] if m > 1 else []
        fresh = [o for o in near if o not in seen and max(o[:2]) <= LARGEST_ORDER and max(o[2:]) <= 1 and min(o) >= 0]
        if not fresh:
            break
        before = best.criterion
        for o in fresh:
            seen[o] = _fitted(y, o, differences)
        best = min(seen.values(), key=lambda f: f.criterion)
        if best.criterion >= before - 1e-6:
            break
    return sorted(seen.values(), key=lambda f: f.criterion)[:AVERAGED]


def _fitted(y: np.ndarray, orders: Orders, differences: tuple[int, int, int]) -> Model:
    """One model, its mean fitted together with its polynomials: of changes that take each other back, the plain mean is the
    line through the first and the last value, whatever lies between."""
    from scipy.optimize import minimize

    d, seasonal, m = differences
    w = _differenced(y, differences)
    has_mean = d + seasonal <= 1
    n, size = len(w), sum(orders)
    unit = max(float(((w - w.mean()) ** 2).sum() if has_mean else w @ w), 1e-300)
    if n < size + 4 + (orders[2] or orders[3]) * m:
        return Model(np.ones(1), np.ones(1), float(w.mean()) if has_mean else 0.0, differences, float("inf"), orders)

    def loss(u: np.ndarray) -> float:
        errors, _ = _errors(w, *_polynomials(u, orders, m), has_mean)
        value = float(errors @ errors) / unit
        return float(np.log(value)) if np.isfinite(value) and value > 0 else 1e6

    u = np.full(size, 0.1)
    if size:
        u = np.asarray(minimize(loss, u, method="L-BFGS-B", bounds=[(-4, 4)] * size, options={"maxiter": 20}).x)
    ar, ma = _polynomials(u, orders, m)
    p = size + 1 + int(has_mean)
    criterion = n * (loss(u) + np.log(unit / n)) + 2 * p + 2 * p * (p + 1) / max(1, n - p - 1)
    return Model(ar, ma, _errors(w, ar, ma, has_mean)[1], differences, float(criterion), orders)


def _errors(w: np.ndarray, ar: np.ndarray, ma: np.ndarray, has_mean: bool) -> tuple[np.ndarray, float]:
    """Errors one step ahead, and the mean with the least squares of them: they are linear in it."""
    from scipy.signal import lfilter

    if not has_mean:
        return np.asarray(lfilter(ar, ma, w)), 0.0
    errors, ones = lfilter(ar, ma, np.stack([w, np.ones(len(w))]), axis=1)
    mean = float(errors @ ones) / max(float(ones @ ones), 1e-300)
    return errors - mean * ones, mean


def _with_own_mean(y: np.ndarray, model: Model) -> Model:
    """Another series' model with the mean of this one, which has a unit of its own."""
    d, seasonal, _ = model.differences
    w = _differenced(y, model.differences)
    return replace(model, mean=_errors(w, model.ar, model.ma, d + seasonal <= 1)[1] if len(w) else 0.0)


def _differenced(y: np.ndarray, differences: tuple[int, int, int]) -> np.ndarray:
    d, seasonal, m = differences
    for step in [m] * seasonal + [1] * d:
        y = y[step:] - y[:-step]
    return y


def _polynomials(u: np.ndarray, orders: Orders, m: int) -> tuple[np.ndarray, np.ndarray]:
    """(ar, ma): stationary and invertible ones for any u, by partial autocorrelations.

    Monahan: A note on enforcing stationarity in autoregressive-moving average models.  Biometrika 71 (1984).
    """
    p, q, sp, _ = orders
    parts = np.split(np.tanh(u) * 0.99, np.cumsum([p, q, sp]))
    ar, ma, sar, sma = (_from_partial(v) for v in parts)
    return np.convolve(_poly(-ar, 1), _poly(-sar, m)), np.convolve(_poly(-ma, 1), _poly(-sma, m))


def _from_partial(r: np.ndarray) -> np.ndarray:
    phi = np.empty(0)
    for k in r:
        phi = np.append(phi - k * phi[::-1], k)
    return phi


def _poly(coefficients: np.ndarray, step: int) -> np.ndarray:
    out = np.zeros(len(coefficients) * step + 1)
    out[0] = 1.0
    if len(coefficients):
        out[step::step] = coefficients
    return out


def _strength(y: np.ndarray, m: int) -> float:
    """Share of the variance that the season (m > 1), or the last value (m = 1), explains; after Wang, Smith, Hyndman (2006)."""
    if m == 1:
        rest = y - y.mean()
        return float(rest[1:] @ rest[:-1] / max(float(rest @ rest), 1e-300))
    width = np.ones(m + 1 - m % 2)
    if m % 2 == 0:
        width[[0, -1]] = 0.5
    half = len(width) // 2
    trend = np.convolve(y, width / m, "valid")
    rest = y[half : len(y) - half] - trend
    place = np.arange(len(rest)) % m
    effects = np.array([rest[place == s].mean() for s in range(m)])[place]
    return float(1 - (rest - effects).var() / max(float(rest.var()), 1e-300))


def _differences(y: np.ndarray, most: int) -> int:
    """How often to difference: once where a unit root cannot be refused, and until the KPSS test at 5 % finds no drift
    of the level, which alone has too little power on short series.

    Diebold, Kilian: Unit-Root Tests Are Useful for Selecting Forecasting Models.  Journal of Business & Economic
    Statistics 18 (2000): a difference too much costs a forecast less than one too few.
    """
    for d in range(most):
        if d == 0 and _has_unit_root(y):
            y = np.diff(y)
            continue
        rest = y - y.mean()
        n = len(rest)
        lags = int(4 * (n / 100) ** 0.25)
        spread = float(rest @ rest) / n
        for k in range(1, lags + 1):
            spread += 2 * (1 - k / (lags + 1)) * float(rest[k:] @ rest[:-k]) / n
        statistic = float((np.cumsum(rest) ** 2).sum()) / n**2 / max(spread, 1e-300)
        if n < 8 or spread <= 0 or statistic < 0.463:
            return d
        y = np.diff(y)
    return most


def _has_unit_root(y: np.ndarray) -> bool:
    """Whether the test of Dickey and Fuller with a constant, augmented by a few lags, does not refuse one at 5 %."""
    n = len(y)
    if n < LEAST_TESTED:
        return False
    dy = np.diff(y)
    lags = max(1, min(1 + int(2 * (n / 100) ** 0.25), (n - 8) // 4))
    past = [dy[lags - i : n - 1 - i] for i in range(1, lags + 1)]
    x = np.column_stack([y[lags:-1] - y.mean(), np.ones(n - 1 - lags), *past])
    inverse = np.linalg.pinv(x.T @ x)
    slope = inverse @ (x.T @ dy[lags:])
    rest = dy[lags:] - x @ slope
    variance = float(rest @ rest) / max(1, len(rest) - x.shape[1]) * float(inverse[0, 0])
    return bool(variance > 0 and float(slope[0]) > REFUSED * variance**0.5)


family = ARIMA()
