"""Boosting stops when it should and keeps its best round."""

from __future__ import annotations

import time

import numpy as np
import pytest

from assay.families import Split
from assay.testing.context import ToyContext
from assay.testing.toy import table_split, toy_table
from search_spaces.tabular import catboost, lightgbm
from search_spaces.tabular._answers import loss
from search_spaces.tabular._boosting import REPORT_EVERY, Course, patience

FAMILIES = pytest.mark.parametrize("family", [lightgbm.family, catboost.family], ids=lambda f: f.name)


def noisy(kind: str = "binary") -> Split:
    return table_split(toy_table(kind), lightgbm.family.recipe(lightgbm.family.Config()))


def test_patience_shrinks_with_rows_and_rate() -> None:
    assert patience(1_000, 0.05) == 150
    assert patience(100_000, 0.05) == 20
    assert patience(20_000, 0.05) == 75
    assert patience(1_000, 0.1) < patience(1_000, 0.05) < patience(1_000, 0.01)


def test_a_course_keeps_the_best_round_and_ends_after_its_patience() -> None:
    course = Course(ToyContext(), patience=5)
    losses = [3.0, 2.0, 1.0, 1.5, 1.4, 1.3, 1.2, 1.1, 0.5]
    answers = [course.after(value) for value in losses[:8]]
    assert answers == [True] * 7 + [False]
    assert course.best_round == 3


def test_a_gain_too_small_to_notice_moves_the_best_round_but_not_the_patience() -> None:
    course = Course(ToyContext(), patience=4)
    answers = [course.after(1.0 - 1e-5 * i) for i in range(5)]
    assert answers == [True] * 4 + [False]
    assert course.best_round == 5


@FAMILIES
def test_fewer_steps_mean_fewer_rounds(family: object) -> None:
    ctx = ToyContext(max_steps=25)
    family.fit(family.Config(), noisy(), ctx)  # type: ignore[attr-defined]
    assert [step for step, _ in ctx.reports] == [10, 20, 25]


@FAMILIES
def test_a_high_rate_on_noise_stops_early_and_keeps_the_best_round(family: object) -> None:
    split = noisy()
    ctx = ToyContext(max_steps=400)
    predictor = family.fit(family.Config(learning_rate=0.1), split, ctx)  # type: ignore[attr-defined]
    assert ctx.reports[-1][0] < 400, "patience never ran out"
    best = -ctx.reports[-1][1]
    assert loss(split.target, predictor.predict(split.x_valid), split.y_valid, None) == pytest.approx(best, rel=1e-5)


@FAMILIES
def test_a_stop_keeps_the_rounds_so_far(family: object) -> None:
    split = noisy()
    ctx = ToyContext(stop_at=2 * REPORT_EVERY)
    stopped = family.fit(family.Config(), split, ctx)  # type: ignore[attr-defined]
    assert ctx.reports[-1][0] == 2 * REPORT_EVERY
    assert 0 < len(stopped.forest().trees) <= 2 * REPORT_EVERY


@FAMILIES
def test_a_deadline_ends_the_fit_in_time(family: object) -> None:
    split = noisy("multiclass")
    config = family.Config(learning_rate=0.005)  # type: ignore[attr-defined]
    began = time.monotonic()
    ctx = ToyContext(seconds=0.3)
    predictor = family.fit(config, split, ctx)  # type: ignore[attr-defined]
    assert time.monotonic() - began < 3.0
    assert 0 < ctx.reports[-1][0] < family.steps(config), "it did not end for lack of time"  # type: ignore[attr-defined]
    assert np.isfinite(predictor.predict(split.x_valid)).all()


def test_boosting_writes_nothing_to_the_console(capfd: pytest.CaptureFixture[str]) -> None:
    split = noisy()
    tiny = Split(split.x[:12], split.y[:12], split.x_valid, split.y_valid, split.target)
    for family in (lightgbm.family, catboost.family):
        for data in (split, tiny):
            family.fit(family.Config(), data, ToyContext(max_steps=20)).predict(split.x_valid)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
