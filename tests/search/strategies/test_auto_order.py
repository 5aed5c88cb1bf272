"""The automatic search: what comes first, what waits, and what is not begun."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import pytest

from assay.search.strategies import _portfolio
from assay.search.strategies.auto import UNLISTED, strategy
from assay.search.trial import Facts, History, Proposal, Trial, TrialStatus
from assay.space import Choice, Float, Space, Value


@dataclass(frozen=True)
class _Any:
    kind: Annotated[str, Choice("x", "y", "z", "w")] = "x"
    rate: Annotated[float, Float(0.1, 1.0)] = 0.5


SPACE = Space.of(_Any)
SECONDS = {"first": 1.0, "good": 2.0, "dear": 30.0, "stranger": 15.0, "cheap_stranger": 2.0}
SPACES = {name: SPACE for name in SECONDS}


@pytest.fixture(autouse=True)
def portfolio(monkeypatch: pytest.MonkeyPatch) -> None:
    known = tuple(_portfolio.Entry(f, {}, "a test") for f in ("first", "good", "dear"))
    monkeypatch.setattr(_portfolio, "table", lambda: known)


def seconds(family: str, config: Mapping[str, Value]) -> float:
    return SECONDS[family] * (4.0 if config.get("kind") == "w" else 1.0)


def history(left: float, *families: str) -> History:
    facts = Facts("multiclass", 1000, 1, 1, 3, seconds_left=left, expected=seconds)
    trials = tuple(
        Trial(i, f, SPACE.defaults(), TrialStatus.COMPLETED, score=0.9 - 0.001 * i, seconds=SECONDS[f])
        for i, f in enumerate(families)
    )
    return History(0, trials, facts)


def next_one(past: History) -> Proposal:
    (found,) = strategy.propose(past, SPACES, np.random.default_rng(0), 1)
    return found


def test_the_portfolio_comes_in_its_order_past_what_is_too_dear() -> None:
    assert next_one(history(50.0)).family == "first"
    assert next_one(history(50.0, "first")).family == "good"


def test_a_stranger_waits_unless_it_is_cheap() -> None:
    assert next_one(history(50.0, "first", "good")).family == "cheap_stranger"
    found = next_one(history(50.0, "first", "good", "cheap_stranger", "first"))
    assert (found.family, found.note) == ("stranger", UNLISTED)  # nothing listed is affordable, and it is


def test_before_variants_the_cheapest_untried_family_is_begun_if_it_ends_in_time() -> None:
    past = history(32.0, "first", "good", "cheap_stranger", "first")  # half of it for "stranger", nearly all for "dear"
    assert next_one(replace(past, facts=replace(past.facts, seconds_left=41.0))).family == "stranger"
    later = history(41.0, "first", "good", "cheap_stranger", "stranger", "first")
    assert next_one(later).family == "dear"
    short = history(20.0, "first", "good", "cheap_stranger", "stranger", "first")
    assert next_one(short).family != "dear"


def test_what_is_searched_would_end_in_time_too() -> None:
    past = history(6.0, "first", "good", "cheap_stranger")
    found = [
        strategy.propose(replace(past, seed=seed), SPACES, np.random.default_rng(seed), 1)[0] for seed in range(40)
    ]
    late = [p for p in found if seconds(p.family, p.config) > 0.75 * 6.0]
    assert not {p.family for p in found} & {"dear", "stranger"}
    assert len(late) <= 2  # of 40: six draws are made before one is taken as it is


def test_without_a_clock_nothing_is_too_dear() -> None:
    past = History(0, (), Facts("multiclass", 1000, 1, 1, 3))
    found = strategy.propose(past, SPACES, np.random.default_rng(0), 5)
    assert [p.family for p in found] == ["first", "good", "dear", "stranger", "cheap_stranger"]


def test_the_head_of_the_portfolio_is_tried_though_its_family_is_far_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [("first", "x"), ("good", "x"), ("good", "y"), ("good", "z")]
    known = tuple(_portfolio.Entry(f, {"kind": kind}, "a test") for f, kind in entries)
    monkeypatch.setattr(_portfolio, "table", lambda: known)
    past = history(50.0, "first", "good")
    far = replace(past, trials=(past.trials[0], replace(past.trials[1], score=-9.0)))
    found = next_one(far)
    assert (found.family, found.config["kind"]) == ("good", "y")
    third = Trial(2, "good", found.config, TrialStatus.COMPLETED, score=-9.0, seconds=2.0)
    assert next_one(replace(far, trials=(*far.trials, third))).family not in ("first", "good")
