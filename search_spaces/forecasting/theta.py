"""Theta: a line and a smoothed series with its local curvature changed, combined; after the season was taken out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from assay.errors import TimedOut
from assay.families import Cost, Predictor, Shape, TrialContext
from assay.forecasting.problem import Past
from assay.space import Choice
from search_spaces.forecasting._maps import Map, Wish, probe, reach, share

LATEST = 1000  # values that are tested for a season and for growing swings
NEAR, NEAR_SEASONS = 40, 5  # values, or seasons, that the line is drawn through: one through all forgets what is new
LONGEST_SEASON = 60
ALPHAS = np.linspace(0.02, 0.98, 25)
THETAS = (1.0, 1.5, 2.0, 3.0, 5.0)
LEAST_SEASONAL = 1.645  # of the autocorrelation at the season, in standard errors


@dataclass(frozen=True)
class ThetaConfig:
    """theta: 2 is the standard method, "optimised" chooses among THETAS by errors one step ahead."""

    theta: Annotated[str, Choice("optimised", "standard")] = "optimised"
    season: Annotated[str, Choice("auto", "none")] = "auto"
    scale: Annotated[str, Choice("auto", "values")] = "auto"


class Theta:
    name: ClassVar[str] = "theta"
    tasks: ClassVar[frozenset[str]] = frozenset({"forecasting"})
    lane: ClassVar[str] = "cpu"
    rank: ClassVar[int] = -1  # before cheaper families: good on any series
    trust: ClassVar[float] = 0.5  # behind the other three on yearly series, and needed on quarterly ones
    Config: ClassVar[type] = ThetaConfig
    reference: ClassVar[str] = (
        "Assimakopoulos, Nikolopoulos: The theta model.  International Journal of Forecasting 16 (2000); Fiorucci et al.: "
        "Models for optimising the theta method.  International Journal of Forecasting 32 (2016)"
    )

    def recipe(self, config: ThetaConfig) -> Wish:
        return Wish()

    def steps(self, config: ThetaConfig) -> int:
        return 1

    def cost(self, config: ThetaConfig, shape: Shape) -> Cost:
        return Cost(0.02 + 2e-5 * shape.n_rows, 50_000_000)

    def fit(self, config: ThetaConfig, data: Past, ctx: TrialContext) -> Predictor:
        maps: list[Map] = []
        for history in data.histories:
            y = history[-LATEST:]
            is_log = config.scale == "auto" and float(y.min()) > 0 and _grows(y, data.season)
            z = np.log(y) if is_log else y
            m = data.season if config.season == "auto" and _is_seasonal(z, data.season) else 1
            z = z[-max(NEAR, NEAR_SEASONS * data.season) :]
            thetas = THETAS if config.theta == "optimised" else (2.0,)
            trials = [(a, t) for t in thetas for a in ALPHAS]
            alpha, theta = (np.array(v) for v in zip(*trials, strict=True))
            errors, _ = run(np.broadcast_to(z, (len(trials), len(z))), alpha, theta, m, 1)
            chosen = int(np.argmin((errors[:, 1:] ** 2).sum(1)))

            def filter_(x: np.ndarray, a: float = alpha[chosen], t: float = theta[chosen], s: int = m) -> np.ndarray:
                return run(x, np.full(len(x), a), np.full(len(x), t), s, data.horizon)[1]

            maps.append(probe(filter_, data.width, is_log, reach(z, data.season)))
            if ctx.seconds_left() < 0:
                raise TimedOut(f"{len(maps)} of {len(data.histories)} series were fitted in time")
        return share(maps)


def run(
    y: np.ndarray, alpha: np.ndarray, theta: np.ndarray, season: int, horizon: int
) -> tuple[np.ndarray, np.ndarray]:
    """(errors (B, n), forecasts (B, horizon)) of series (B, n); alpha, theta: (B,).  Linear in y."""
    n = y.shape[1]
    rest, effects = y, np.zeros((len(y), 1))
    if season > 1 and n >= 2 * season:
        effects = y @ _seasonal(n, season).T  # (B, season), by position in the window
        rest = y - effects[:, np.arange(n) % season]
    t = np.arange(n)
    centred = t - t.mean()
    slope = rest @ centred / max(1.0, float(centred @ centred))
    level0 = rest.mean(1)
    line = level0[:, None] + slope[:, None] * centred
    curve = theta[:, None] * rest + (1 - theta[:, None]) * line
    level = curve[:, 0].copy()
    errors = np.zeros((len(y), n))
    for i in range(1, n):
        e = curve[:, i] - level
        errors[:, i] = e / theta
        level = level + alpha * e
    steps = np.arange(1, horizon + 1)
    future = level0[:, None] + slope[:, None] * (n - 1 + steps - t.mean())
    share_ = 1 / theta[:, None]
    out = share_ * level[:, None] + (1 - share_) * future
    if season > 1 and n >= 2 * season:
        out = out + effects[:, (n + steps - 1) % season]
    return errors, out


def _seasonal(n: int, m: int) -> np.ndarray:
    """(m, n): classical additive decomposition, from n values to the effect of every place in the season."""
    weights = np.ones(m + 1 - m % 2)
    if m % 2 == 0:
        weights[[0, -1]] = 0.5
    weights /= m
    half = len(weights) // 2
    smooth = np.eye(n)
    inner = np.arange(half, n - half)
    for i in inner:
        smooth[i] = 0
        smooth[i, i - half : i + half + 1] = weights
    detrended = np.eye(n) - smooth
    rows = [detrended[inner[inner % m == s]].mean(0) for s in range(m)]
    effects = np.stack(rows)
    return np.asarray(effects - effects.mean(0))


def _is_seasonal(y: np.ndarray, m: int) -> bool:
    """The test of the M competitions: the autocorrelation at the season stands out."""
    n = len(y)
    if not 1 < m <= LONGEST_SEASON or n < 3 * m:
        return False
    rest = y - y.mean()
    power = float(rest @ rest)
    if power <= 0:
        return False
    acf = np.array([float(rest[k:] @ rest[:-k]) / power for k in range(1, m + 1)])
    return bool(abs(acf[-1]) > LEAST_SEASONAL * np.sqrt((1 + 2 * float((acf[:-1] ** 2).sum())) / n))


def _grows(y: np.ndarray, m: int) -> bool:
    """Whether swings grow with the level: halves of the series compared, by deviation and by mean of the changes."""
    step = m if 1 < m < len(y) // 3 else 1
    half = len(y) // 2
    a, b = y[:half], y[half:]
    if len(a) <= step + 2:
        return False
    spread = [float(np.std(np.diff(v))) for v in (a, b)]
    level = [float(v.mean()) for v in (a, b)]
    if min(spread) <= 0 or min(level) <= 0 or abs(np.log(level[1] / level[0])) < 0.1:
        return False
    return float(np.log(spread[1] / spread[0]) / np.log(level[1] / level[0])) > 0.5


family = Theta()
