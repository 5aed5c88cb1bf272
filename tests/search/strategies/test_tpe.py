"""The Parzen estimator behind `bayesian`, `bohb` and `auto`."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from assay.search.strategies import _tpe
from assay.search.trial import History, Trial, TrialStatus
from assay.space import Choice, Dimension, Float, Int, Space, When
from tests.search.strategies.rows import LINE, history, trial

MIXED = Space(
    (
        Dimension("kind", Choice("p", "q", None, True), "p"),
        Dimension("rate", Float(1e-4, 1.0, log=True), 0.1),
        Dimension("depth", Int(1, 9), 3, When("kind", "q")),
        Dimension("fixed", Float(2.0, 2.0), 2.0),
    )
)


def hill(n: int, at: float = 0.8) -> list[Trial]:
    xs = np.random.default_rng(0).random(n)
    return [trial(i, "a", -abs(float(x) - at), config={"x": float(x)}) for i, x in enumerate(xs)]


def around(past: History, n: int = 20) -> list[float]:
    return [float(_tpe.suggest_config(past, "a", LINE, attempt)["x"] or 0) for attempt in range(n)]


def test_proposals_gather_where_scores_are_high() -> None:
    assert abs(float(np.median(around(history(*hill(40))))) - 0.8) < 0.1


def test_the_answer_is_a_function_of_the_seed_the_number_and_the_rows_alone() -> None:
    past = history(*hill(30))
    expected = _tpe.suggest(past, {"a": LINE})
    _tpe.suggest(history(*hill(12), seed=5), {"a": LINE})  # whatever else happens in the process
    assert _tpe.suggest(history(*hill(30)), {"a": LINE}) == expected
    assert _tpe.suggest(history(*hill(30), seed=1), {"a": LINE}) != expected
    assert _tpe.suggest(past, {"a": LINE}, attempt=1) != expected


def test_open_trials_push_the_next_ones_elsewhere() -> None:
    rows = hill(40)
    crowd = [trial(40 + i, "a", config={"x": 0.8 + 0.002 * (i - 10)}) for i in range(20)]
    alone = np.mean([abs(x - 0.8) < 0.03 for x in around(history(*rows), 30)])
    crowded = np.mean([abs(x - 0.8) < 0.03 for x in around(history(*rows, *crowd), 30)])
    assert crowded < alone


def test_failed_and_diverged_trials_are_kept_away_from() -> None:
    failed = [
        trial(40 + i, "a", None if i % 2 else math.nan, config={"x": 0.75 + 0.01 * i}, status=s)
        for i, s in enumerate([TrialStatus.COMPLETED, TrialStatus.FAILED] * 5)
    ]
    alone = np.mean([0.74 < x < 0.86 for x in around(history(*hill(40)), 30)])
    warned = np.mean([0.74 < x < 0.86 for x in around(history(*hill(40), *failed), 30)])
    assert warned < alone


def test_a_conditional_mixed_space_is_answered_completely() -> None:
    rng = np.random.default_rng(1)
    rows = [trial(i, "m", float(rng.random()), config=MIXED.sample(rng)) for i in range(30)]
    for attempt in range(10):
        config = _tpe.suggest_config(history(*rows), "m", MIXED, attempt)
        assert MIXED.contains(config) and MIXED.complete(config) == config


def test_rows_outside_the_space_are_passed_over() -> None:
    rows = [*hill(20), trial(20, "a", 9.0, config={"x": 7.0}), trial(21, "a", 9.0, config={"y": 0.5})]
    assert LINE.contains(_tpe.suggest_config(history(*rows), "a", LINE))


def test_of_many_rows_the_best_the_newest_and_the_open_ones_are_modelled() -> None:
    rows = [trial(i, "a", float(-i)) for i in range(1000)]
    rows[500] = trial(500, "a")  # still open
    kept = {t.number for t in _tpe.modelled(rows)}
    half = _tpe.MOST_ROWS // 2
    assert kept == {*range(half), 500, *range(1000 - half, 1000)}


def chosen(rows: list[Trial]) -> dict[str, int]:
    picks = [_tpe.suggest_family(history(*rows, seed=seed), ["a", "b"]) for seed in range(60)]
    return {f: picks.count(f) for f in "ab"}


def test_the_family_of_the_best_trials_is_chosen_most_often() -> None:
    behind = [trial(i, "ab"[i % 2], -0.1 * (i % 2) - 0.001 * (i % 7), seconds=1.0) for i in range(40)]
    assert chosen(behind)["a"] > 50


def test_a_family_that_gains_quickly_from_behind_gets_its_chance() -> None:
    stuck = [trial(i, "a", 1.0 if i == 0 else 0.999 - 1e-5 * i, seconds=1.0) for i in range(30)]
    rising = [trial(30 + i, "b", 0.9 + 0.015 * i, seconds=1.0) for i in range(6)]
    assert chosen([*stuck, *rising])["b"] > 15


@pytest.mark.parametrize("n", [0, 3])
def test_before_there_is_anything_to_learn_from_it_draws_at_random(n: int) -> None:
    found = {round(float(_tpe.suggest(history(*hill(n), seed=s), {"a": LINE})[1]["x"] or 0), 1) for s in range(30)}
    assert len(found) > 5


def test_it_warns_of_nothing_and_logs_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _tpe.suggest(history(*hill(15)), {"a": LINE})
    assert capfd.readouterr() == ("", "")
