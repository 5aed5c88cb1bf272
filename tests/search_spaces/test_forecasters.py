"""Forecasters on series whose continuation is known."""

from __future__ import annotations

import numpy as np
import pytest

from assay.testing.context import ToyContext
from search_spaces.forecasting._maps import probe
from search_spaces.forecasting._pace import MOST, Pace
from search_spaces.forecasting._smoothing import Smoothing, forecasts, squares
from search_spaces.forecasting.arima import _differences, _fitted, _has_unit_root, _with_own_mean
from search_spaces.forecasting.ces import CESConfig, best, run


def filter_(trend: bool, season: int) -> Smoothing:
    ones = np.ones(1)
    return Smoothing(0.3 * ones, 0.1 * ones, 0.2 * ones, ones, trend, season)


def test_smoothing_finds_the_starting_states_of_a_line_with_a_season() -> None:
    t = np.arange(44)
    season = np.array([3.0, -1, 0, -2])
    y = 5 + 0.5 * t + season[t % 4]
    assert squares(y[:40], filter_(True, 4))[0] == pytest.approx(0, abs=1e-6)
    assert forecasts(y[None, :40], filter_(True, 4), 4)[0] == pytest.approx(y[40:], abs=1e-4)


def test_starting_states_have_the_least_squares() -> None:
    y = np.random.default_rng(0).normal(size=30)
    flat = filter_(False, 1)

    def error(level: float) -> float:
        total = 0.0
        for v in y:
            total += (v - level) ** 2
            level += 0.3 * (v - level)
        return total

    assert squares(y, flat)[0] == pytest.approx(min(error(v) for v in np.linspace(-3, 3, 601)), rel=1e-4)


def test_a_probed_map_forecasts_like_the_filter_and_leaves_what_was_made_up_alone() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=(3, 20))
    found = probe(lambda x: forecasts(x, filter_(True, 4), 5), 30, length=20)
    whole = np.concatenate([100 * rng.normal(size=(3, 10)), y], axis=1)
    np.testing.assert_allclose(whole @ found.matrix + found.bias, forecasts(y, filter_(True, 4), 5), atol=1e-8)


class Clock(ToyContext):
    """Seconds that pass when they are told to."""

    def passes(self, seconds: float, pace: Pace) -> None:
        self._deadline -= seconds
        pace.began -= seconds


def test_little_time_for_many_series_lowers_the_effort() -> None:
    pace = Pace(100, ToyContext(seconds=30))
    assert pace.effort() == 2
    pace.ended, pace.seconds, pace.used = 1, {2: 1.0}, 1.0
    assert pace.effort() == 1
    pace.seconds[1] = 0.4
    assert pace.effort() == 0
    pace.ended = 50  # half of the series with a twelfth of the time
    assert pace.effort() == 1


def test_of_too_many_series_every_so_many_is_searched_and_time_is_left_for_others() -> None:
    clock = Clock(seconds=60.0)
    pace, efforts = Pace(1000, clock), []
    for _ in range(1000):
        efforts.append(pace.effort())
        clock.passes((0.001, 0.1, 0.3)[efforts[-1]], pace)
        pace.done()
    assert 0.8 * MOST * 60 < pace.used < 1.2 * MOST * 60
    searched = np.flatnonzero(efforts)
    assert len(searched) > 60 and np.diff(searched).max() < 40


def test_what_may_wander_is_differenced_though_it_is_short_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    walks = [np.cumsum(rng.normal(size=18)) for _ in range(40)]
    noises = [rng.normal(size=60) for _ in range(40)]
    assert np.mean([_differences(y, 2) >= 1 for y in walks]) > 0.8
    assert np.mean([_differences(y, 2) == 0 for y in noises]) > 0.8
    assert not _has_unit_root(np.ones(40))


@pytest.mark.parametrize("form", ["none", "partial", "full"])
def test_complex_smoothing_is_linear_in_the_series(form: str) -> None:
    rng = np.random.default_rng(2)
    y, u = rng.normal(size=(3, 30)), np.repeat([[1.4, 1.01, 0.2, 0.9]], 3, axis=0)
    y[2] = 2 * y[0] - 3 * y[1]
    for found in run(y, u, form, 4, 6):
        np.testing.assert_allclose(found[2], 2 * found[0] - 3 * found[1], atol=1e-9)


def test_complex_smoothing_goes_on_with_a_trend_and_a_season() -> None:
    rng = np.random.default_rng(3)
    t = np.arange(100)
    level, season = 30 + 0.5 * t, 4 * np.sin(t * np.pi / 2)
    y = level + season + 0.3 * rng.normal(size=100)
    found = best(y[:92], 4, CESConfig(), rng)
    assert {f.form for f in found} == {"none", "partial", "full"} and found[0].form != "none"
    ahead = run(y[None, :92], found[0].parameters, found[0].form, 4, 8)[1][0]
    assert np.abs(ahead - y[92:]).mean() < 1.0  # the last season again is off by 2.5, a flat line by more
    short = best(y[:8], 4, CESConfig(season="full"), rng)
    assert [f.form for f in short] == ["none"]  # nothing can be told of seasons yet


def test_the_drift_of_a_noisy_line_is_found_better_than_by_its_ends() -> None:
    rng = np.random.default_rng(4)
    series = [0.5 * np.arange(40) + 2 * rng.normal(size=40) for _ in range(30)]
    found = [_fitted(y, (0, 1, 0, 0), (1, 0, 1)).mean for y in series]
    ends = [np.diff(y).mean() for y in series]
    assert np.std(found) < 0.8 * np.std(ends) and abs(np.mean(found) - 0.5) < 0.02


def test_a_model_of_another_series_takes_the_unit_of_the_one_it_is_lent_to() -> None:
    rng = np.random.default_rng(5)
    small = 5 + np.cumsum(0.1 + 0.05 * rng.normal(size=60))
    lent = _with_own_mean(1000 * small, _fitted(small, (1, 0, 0, 0), (1, 0, 1)))
    assert lent.mean == pytest.approx(100, rel=0.2)
