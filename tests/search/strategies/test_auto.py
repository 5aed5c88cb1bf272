"""What `auto` spends time on: families that contend, entries of the portfolio that suit the data, trials that end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assay.search.strategies._merit import MOST, MOST_OF_BEST, affordable, closeness
from assay.search.strategies._portfolio import Entry, starts
from assay.search.strategies.auto import strategy
from assay.search.trial import History, Proposal, Trial
from assay.space import Value
from tests.search.strategies.rows import LINE, history, trial

KNOWN: dict[str, Any] = {"n_rows": 20_000, "n_folds": 3, "seconds_left": 40.0, "perfect": 0.0}
SPACES = {"f": LINE}


def past(*trials: Trial, **more: Any) -> History:
    return history(*trials, **{**KNOWN, **more})


def test_errors_alike_contend_and_larger_ones_do_not() -> None:
    near = closeness(past(trial(0, "best", -100.0), trial(1, "like", -102.0), trial(2, "far", -120.0)))
    assert near["best"] == 1.0
    assert near["like"] == pytest.approx(np.exp(-0.5))
    assert near["far"] < 0.01


def test_how_many_weak_families_there_are_does_not_move_who_contends() -> None:
    strong = (trial(0, "best", -100.0), trial(1, "like", -102.0))
    weak = tuple(trial(2 + i, f"weak {i}", -200.0) for i in range(9))
    assert closeness(past(*strong, *weak))["like"] == closeness(past(*strong))["like"]


def test_nobody_is_behind_within_the_noise_of_the_folds() -> None:
    near = closeness(past(trial(0, "best", -100.0, score_std=60.0), trial(1, "other", -110.0)))
    assert near["other"] > 0.7


def test_a_score_without_a_best_is_compared_with_the_families() -> None:
    near = closeness(
        past(trial(0, "a", 50.0), trial(1, "b", 49.0), trial(2, "c", 20.0), trial(3, "d", 10.0), perfect=None)
    )
    assert near["b"] > 0.1 > near["c"]


@pytest.mark.parametrize(
    ("seconds", "family", "fits"), [(30.0, "best", True), (30.0, "far", False), (39.0, "best", False)]
)
def test_the_best_family_may_take_most_of_the_time_left(seconds: float, family: str, fits: bool) -> None:
    seen = past(trial(0, "best", -100.0), trial(1, "far", -150.0), expected=lambda name, config: seconds)
    assert MOST * 40.0 < 30.0 <= MOST_OF_BEST * 40.0 < 39.0
    assert affordable(seen, Proposal(family, {"x": 0.1})) is fits


def test_a_contender_that_can_train_shorter_needs_less_of_the_time_left() -> None:
    def expected(family: str, config: Mapping[str, Value]) -> float:
        return 60.0

    scored = past(trial(0, "best", -100.0), trial(1, "far", -150.0), expected=expected)
    assert scored.facts.seconds_left == 40.0
    bends = replace(scored, facts=replace(scored.facts, shortest={"best": 0.4, "far": 0.4}))
    assert not affordable(scored, Proposal("best", {"x": 0.1}))
    assert affordable(bends, Proposal("best", {"x": 0.1}))  # 24 of 32 seconds
    assert not affordable(bends, Proposal("far", {"x": 0.1}))  # it may not even have 16


def test_entries_for_other_sizes_of_data_are_left_out() -> None:
    entries = [
        Entry("f", {"x": 0.1}, "few", (None, 5000)),
        Entry("f", {"x": 0.2}, "all"),
        Entry("f", {"x": 0.3}, "many", (5000, None)),
    ]
    assert [s.config["x"] for s in starts(SPACES, 100, 5, entries)] == [0.1, 0.2]
    assert [s.config["x"] for s in starts(SPACES, 5000, 5, entries)] == [0.1, 0.2, 0.3]
    assert [s.config["x"] for s in starts(SPACES, 20_000, 5, entries)] == [0.2, 0.3]
    wide = [Entry("f", {"x": 0.4}, "wide", columns=(200, None)), Entry("f", {"x": 0.5}, "narrow", columns=(None, 199))]
    assert [s.config["x"] for s in starts(SPACES, 100, 200, wide)] == [0.4]
    assert [s.config["x"] for s in starts(SPACES, 100, 199, wide)] == [0.5]


def test_an_entry_says_of_itself_what_the_table_says() -> None:
    entry = Entry("f", {"x": 0.1}, "few and wide", (None, 5000), (200, None))
    assert entry.to_json() == {
        "family": "f",
        "config": {"x": 0.1},
        "source": "few and wide",
        "rows": [None, 5000],
        "columns": [200, None],
    }
    assert Entry("f", {}, "all").to_json().keys() == {"family", "config", "source"}


def test_no_family_is_begun_whose_default_will_not_end() -> None:
    def expected(family: str, config: Mapping[str, Value]) -> float:
        return 1000.0 if family == "dear" else 1.0

    seen = past(trial(0, "cheap", -100.0), expected=expected)
    spaces = {"cheap": LINE, "dear": LINE}
    rng = np.random.default_rng(0)
    found = [p for number in range(1, 12) for p in strategy.propose(seen, spaces, rng, 3)]
    assert found
    assert {p.family for p in found} == {"cheap"}
