"""A forecasting problem, ready to be searched: histories up to an origin, and what came after it.

Folds are rolling origins: a model learns from everything before the fold's cut and forecasts from a few origins at and
after it, seeing the history up to each.  The last values of every series are the test part.  After its folds a trial
learns once more up to the test part, for the test metrics, and once from everything, for the model that is delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from assay.data.split import Folds
from assay.data.table import Table
from assay.errors import DataError
from assay.families import Split, Target
from assay.forecasting.known import Effects, fit_effects
from assay.forecasting.panel import Layout, Panel, read_panel, window
from assay.forecasting.spread import window_scale
from assay.forecasting.stamps import LEAST_TRAIN, seasons, seasons_of_values
from assay.metrics.forecasting import Actual
from assay.spec import Resolved
from assay.tasks._problem import Problem
from assay.tasks._series import numeric_columns

FOLDS = 4
TEST_ORIGINS = 5  # at most: windows of the test part, of a long series
FOLD_ORIGINS = 4  # at most: forecasts from each fold's model
MOST_WINDOWS = 6000  # judged in one fold; of more series a sample is judged
WIDEST = 800  # values of context a model may look back
GATE_WINDOWS = 300
MOST_NUMBERS = 4_000_000  # of windows, horizons and series multiplied: a map for each is delivered


@dataclass(frozen=True, eq=False)
class Past(Split):
    """What a family learns from: a `Split` whose x are windows, and the whole histories up to the cut.

    x, x_valid: float32 (n, 1 + width): the code of the series (-1: none of the training's), then its last `width`
    values.  y, y_valid: float64 (n, horizon), what came next, in its own unit.  x, y: one window a series, the last one
    with a known future.  histories: float64 arrays, by code of the series.
    """

    histories: tuple[np.ndarray, ...] = ()
    horizon: int = 1
    season: int = 1
    long_season: int = 1  # a second, longer one, of which the window holds at least one and a horizon; 1 for none

    @property
    def width(self) -> int:
        return int(self.x.shape[1]) - 1


@dataclass(frozen=True, eq=False)
class Cut:
    """Where a model stops learning, and from where it forecasts.  ends: by series, values learned from; windows: (v, 2)
    int64, series and origin."""

    ends: np.ndarray
    windows: np.ndarray


@dataclass(frozen=True, eq=False)
class ForecastProblem(Problem):
    """cuts: the folds; test: learned from all but the test part; last: learned from everything.

    width: values a model sees of a series; near: the last of them that a typical series has at the first cut already.
    """

    panel: Panel | None = None
    layout: Layout = field(default_factory=lambda: Layout("", (), None))
    horizon: int = 1
    width: int = 1
    near: int = 1
    seasons: tuple[int, ...] = (1,)
    cuts: tuple[Cut, ...] = ()
    test: Cut | None = None
    last: Cut | None = None

    @property
    def season(self) -> int:
        return self.seasons[0]

    @cached_property
    def values(self) -> tuple[np.ndarray, ...]:
        assert self.panel is not None
        return tuple(s.values for s in self.panel.series)

    @cached_property
    def beside(self) -> tuple[np.ndarray, ...]:
        """The known columns of every series, (n + more, k)."""
        assert self.panel is not None
        return tuple(s.beside for s in self.panel.series)

    @cached_property
    def is_nonnegative(self) -> bool:
        """No series ever fell below zero: no forecast does."""
        return all(float(v.min()) >= 0.0 for v in self.values)

    def inputs(self, windows: np.ndarray, values: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """float32 (v, 1 + width).  values: of all series, None for their own."""
        values = self.values if values is None else values
        x = np.empty((len(windows), 1 + self.width), np.float32)
        for i, (code, end) in enumerate(windows):
            x[i, 0] = code
            x[i, 1:] = window(values[code][:end], self.width, self.season)
        return x

    @cached_property
    def _effects(self) -> dict[Cut, Effects]:
        return {}

    def effects(self, cut: Cut) -> Effects | None:
        """What known columns do, learned up to a cut; None where there are none."""
        if not self.layout.known:
            return None
        if cut not in self._effects:
            histories = [v[:end] for v, end in zip(self.values, cut.ends, strict=True)]
            scales = [naive_error(h, self.season) for h in histories]
            self._effects[cut] = fit_effects(histories, self.beside, self.season, scales)
        return self._effects[cut]

    def lift(self, cut: Cut) -> np.ndarray | float:
        """(v, horizon): what known columns add to the forecasts of the cut's windows."""
        effects = self.effects(cut)
        if effects is None or not len(cut.windows):
            return 0.0
        return np.array([effects.of(self.beside[c][e : e + self.horizon], int(c)) for c, e in cut.windows])

    @cached_property
    def gate_known(self) -> np.ndarray:
        """float32 (n, width + horizon, k) beside the gate's windows: stretches of the training data."""
        rng = np.random.default_rng([self.resolved.seed, 6])
        steps, n = self.width + self.horizon, len(self.gate_inputs)
        every = np.concatenate(self.beside)
        every = every[np.isfinite(every).all(1)]
        first = rng.integers(0, max(1, len(every) - steps), n)
        return np.asarray(every[(first[:, None] + np.arange(steps)) % len(every)], np.float32)

    def gate_effects(self) -> tuple[np.ndarray, np.ndarray | float]:
        """(the gate's windows without the effects of known columns, what these add to their forecasts)."""
        assert self.last is not None
        effects, x = self.effects(self.last), self.gate_inputs
        if effects is None:
            return x, 0.0
        known = effects.in_windows(self.gate_known.astype(np.float64), x[:, 0], self.scale(x))
        x = x.copy()
        x[:, 1:] -= known[:, : self.width].astype(np.float32)
        return x, known[:, self.width :]

    def scale(self, x: np.ndarray) -> np.ndarray:
        """(n,): the unit of errors, from the near values of inputs (n, 1 + width)."""
        return window_scale(x[:, x.shape[1] - self.near :], self.season)

    def actual(self, windows: np.ndarray) -> Actual:
        y = np.array([self.values[code][end : end + self.horizon] for code, end in windows])
        past = [naive_error(self.values[code][:end], self.season) for code, end in windows]
        return Actual(y.reshape(len(windows), self.horizon), np.array(past))

    def past(self, cut: Cut) -> Past:
        """What a family learns from, without the effects of known columns."""
        effects = self.effects(cut)
        values = self.values
        if effects is not None:
            values = tuple(
                v - effects.of(b[: len(v)], i) for i, (v, b) in enumerate(zip(values, self.beside, strict=True))
            )
        histories = tuple(v[:end] for v, end in zip(values, cut.ends, strict=True))
        seen = np.array([(i, max(1, len(h) - self.horizon)) for i, h in enumerate(histories)])
        y = np.array(
            [np.resize(h[end : end + self.horizon], self.horizon) for h, (_, end) in zip(histories, seen, strict=True)]
        )
        return Past(
            x=self.inputs(seen, values),
            y=y,
            x_valid=self.inputs(cut.windows, values),
            y_valid=self.actual(cut.windows).y - self.lift(cut),
            target=self.target,
            histories=histories,
            horizon=self.horizon,
            season=self.season,
            long_season=self.seasons[1]
            if len(self.seasons) > 1 and self.width >= self.seasons[1] + self.horizon
            else 1,
        )

    @cached_property
    def gate_inputs(self) -> np.ndarray:
        """Windows replayed through every graph: real ones, a series that is not known, constants and far values."""
        rng = np.random.default_rng([self.resolved.seed, 2])
        ends = [(i, int(e)) for i, v in enumerate(self.values) for e in {len(v), *rng.integers(2, len(v) + 1, 12)}]
        picked = rng.permutation(len(ends))[:GATE_WINDOWS]
        x = self.inputs(np.array(ends)[np.sort(picked)])
        strange = x[:3].copy()
        strange[:, 0] = -1
        flat = np.concatenate([np.zeros_like(x[:1]), np.ones_like(x[:1]), x[:2] * [[0], [1]]]).astype(np.float32)
        far = x[:2].copy()
        far[:, 1:] *= 100
        return np.concatenate([x, strange, flat, far]).astype(np.float32)


def naive_error(values: np.ndarray, season: int) -> float:
    """Mean absolute difference to the value one season before; to the value before where the history is that short."""
    m = season if len(values) > season else 1
    error = float(np.abs(values[m:] - values[:-m]).mean()) if len(values) > m else 0.0
    size = float(np.abs(values).max(initial=0.0))
    return max(error, 1e-6 * size, 1e-9)


def prepare(table: Table, resolved: Resolved) -> ForecastProblem:
    """Raises DataError: irregular or double stamps, or histories too short."""
    options = resolved.options
    layout = Layout.from_json(options["layout"])
    panel = read_panel(numeric_columns(table, (*layout.targets, *layout.known)), layout)
    horizon = int(options["horizon"])
    if not panel.series:
        raise DataError(f"no series has two values in {layout.targets[0]!r}", code="too_few_rows")
    lengths = np.array([len(s.values) for s in panel.series])
    longest = int(lengths.max())
    need = LEAST_TRAIN + horizon
    if longest < need:
        raise DataError(
            f"the longest series has {longest} values; a horizon of {horizon} needs at least {need}: {LEAST_TRAIN} to "
            "learn from before one horizon that judges; ask for a shorter horizon or give more history",
            column=layout.targets[0],
            code="too_few_rows",
        )
    found = seasons(panel.calendar, longest - horizon)
    if found == (1,) and panel.calendar.unit == "numbers" and panel.calendar.name != "yearly":
        found = seasons_of_values(panel.series[int(np.argmax(lengths))].values[: longest - horizon])
    notes = _notes(panel, found, horizon)
    n_test = _test_origins(resolved, longest, horizon, found[0], notes)
    cuts, test = _cuts(lengths, resolved, horizon, found[0], n_test)
    if len(cuts) < resolved.folds:
        notes.append(f"{len(cuts)} folds instead of {resolved.folds}: the longest series has {longest} values")
    near = _near(lengths, cuts, found, horizon)
    last = Cut(lengths, np.empty((0, 2), np.int64))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    y = np.concatenate([s.values for s in panel.series])
    shown = {
        "frequency": panel.calendar.name, "season_lengths": list(found), "horizon": horizon, "series": len(panel.series),
        "calendar": panel.calendar.to_json(),
    }  # fmt: skip
    return ForecastProblem(
        resolved=replace(resolved, folds=len(cuts), n_rows=len(y), options={**options, **shown}),
        features=Table({}, {}),
        y=y,
        weight=None,
        target=Target("forecasting", metric=resolved.metric, n_targets=horizon),
        classes=(),
        folds=Folds(_between(starts, test.ends, lengths), tuple(_fold(starts, c, horizon) for c in cuts)),
        gate=Table({}, {}),
        left_out=panel.left_out,
        notes=tuple(notes),
        panel=panel,
        layout=layout,
        horizon=horizon,
        width=_width(lengths, near, horizon),
        near=near,
        seasons=found,
        cuts=cuts,
        test=test if n_test else None,
        last=last,
    )


def _test_origins(resolved: Resolved, longest: int, horizon: int, season: int, notes: list[str]) -> int:
    """How many horizons at the end are the test part: one where it costs the folds nothing, more of a long series."""
    if resolved.test_fraction <= 0:
        return 0
    if longest < LEAST_TRAIN + 3 * horizon:
        notes.append(f"no test part: {longest} values are needed for learning and for one fold of {horizon}")
        return 0
    return int(np.clip(resolved.test_fraction * longest / horizon, 1, TEST_ORIGINS))


def _cuts(
    lengths: np.ndarray, resolved: Resolved, horizon: int, season: int, n_test: int
) -> tuple[tuple[Cut, ...], Cut]:
    """The folds, oldest first, and the test cut.  A series too short for a fold is learned from as it is, not judged."""
    before = lengths - n_test * horizon
    longest = int(before.max())
    spared = longest - max(LEAST_TRAIN, min(3 * season, longest // 2))  # values the folds may judge on
    k = int(np.clip(spared // horizon, 1, resolved.folds))
    per_fold = int(np.clip(spared // (2 * k * horizon), 1, FOLD_ORIGINS))
    cuts = []
    for f in range(k):
        back = (k - f) * per_fold * horizon
        ends = np.where(
            before - back >= LEAST_TRAIN, before - back, np.minimum(lengths, np.maximum(before, LEAST_TRAIN))
        )
        judged = np.flatnonzero(before - back >= LEAST_TRAIN)
        windows = [(s, before[s] - back + j * horizon) for s in judged for j in range(per_fold)]
        cuts.append(Cut(ends, _sampled(np.array(windows, np.int64).reshape(-1, 2), resolved.seed)))
    judged = np.flatnonzero(before >= LEAST_TRAIN) if n_test else np.empty(0, np.int64)
    ends = np.where(before >= LEAST_TRAIN, before, lengths)
    windows = [(s, before[s] + j * horizon) for s in judged for j in range(n_test)]
    return tuple(cuts), Cut(ends, np.array(windows, np.int64).reshape(-1, 2))


def _sampled(windows: np.ndarray, seed: int) -> np.ndarray:
    if len(windows) <= MOST_WINDOWS:
        return windows
    return windows[np.sort(np.random.default_rng([seed, 4]).permutation(len(windows))[:MOST_WINDOWS])]


def _width(lengths: np.ndarray, near: int, horizon: int) -> int:
    """The context: all of a typical series, less where that is very long or there are very many of them."""
    room = MOST_NUMBERS // (horizon * len(lengths))
    return int(np.clip(min(int(np.median(lengths)), room), near, WIDEST))


def _near(lengths: np.ndarray, cuts: tuple[Cut, ...], seasons: tuple[int, ...], horizon: int) -> int:
    """What a typical series has at the first cut, within reason."""
    typical = int(np.median(cuts[0].ends))
    useful = max(64, 8 * seasons[0], 4 * horizon)
    if len(seasons) > 1:
        useful = max(useful, 2 * seasons[1] + horizon)
    return int(np.clip(min(useful, typical), min(LEAST_TRAIN, int(lengths.max())), WIDEST))


def _notes(panel: Panel, found: tuple[int, ...], horizon: int) -> list[str]:
    season = "no season" if found == (1,) else f"season of {' and '.join(map(str, found))}"
    notes = [f"frequency {panel.calendar.name}, {season}, horizon {horizon}, {len(panel.series)} series"]
    if panel.filled:
        notes.append(f"{panel.filled} missing values were inserted and interpolated between their neighbours")
    if panel.left_out:
        notes.append(f"{panel.left_out} rows without a value at an end of their series were left out")
    if panel.skipped:
        notes.append(
            f"{len(panel.skipped)} series with fewer than two values were left out: {', '.join(panel.skipped[:5])}"
        )
    return notes


def _between(starts: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    parts = [np.arange(s + x, s + y) for s, x, y in zip(starts[:-1], a, b, strict=True)]
    return np.concatenate(parts).astype(np.int64)


def _fold(starts: np.ndarray, cut: Cut, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """(positions learned from, positions judged on) among all values, series after series."""
    judged = [np.arange(starts[s] + end, starts[s] + end + horizon) for s, end in cut.windows]
    return _between(starts, np.zeros_like(cut.ends), cut.ends), np.unique(np.concatenate(judged))
