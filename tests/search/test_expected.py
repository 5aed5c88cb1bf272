"""Expected seconds: the family's estimate, moved by what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from assay.families import Shape, discover, space_of
from assay.search.expected import expected_seconds, keeps_time
from assay.search.strategies._merit import affordable, closeness, shares
from assay.search.trial import Facts, History, Proposal, Trial, TrialStatus
from assay.space import Value, build

FACTS = Facts("binary", 2000, 20, 5, 2, seconds_left=60.0)
LIGHTGBM: Mapping[str, Value] = space_of(discover()["lightgbm"]).defaults()
CATBOOST: Mapping[str, Value] = space_of(discover()["catboost"]).defaults()
KNN: Mapping[str, Value] = space_of(discover()["knn"]).defaults()


def done(number: int, family: str, config: Mapping[str, Value], seconds: float, score: float = 0.8) -> Trial:
    return Trial(number, family, config, TrialStatus.COMPLETED, score=score, score_std=0.01, seconds=seconds)


def test_before_anything_was_seen_the_estimates_stand() -> None:
    seconds = expected_seconds([], FACTS)
    assert 0.3 < seconds("knn", KNN) < seconds("lightgbm", LIGHTGBM) < seconds("catboost", CATBOOST) < 60
    assert seconds("not installed", {}) == pytest.approx(0.25)


def test_a_slow_family_is_expected_to_stay_slow_and_colours_the_others_little() -> None:
    plain, seen = expected_seconds([], FACTS), expected_seconds([done(0, "lightgbm", LIGHTGBM, 30.0)], FACTS)
    assert 8 < seen("lightgbm", LIGHTGBM) <= 30.0
    assert seen("catboost", CATBOOST) > plain("catboost", CATBOOST)


def test_quick_trials_do_not_make_dear_ones_look_dearer() -> None:
    trials = [done(i, "knn", KNN, 0.5) for i in range(5)] + [done(5, "lightgbm", LIGHTGBM, 1.0)]
    plain, seen = expected_seconds([], FACTS), expected_seconds(trials, FACTS)
    assert seen("catboost", CATBOOST) < 3 * plain("catboost", CATBOOST)


def test_a_trial_that_would_eat_the_time_left_is_not_affordable() -> None:
    facts = Facts("binary", 2000, 20, 5, 2, seconds_left=10.0, expected=lambda family, config: 5.0)
    assert not affordable(History(0, (), facts), Proposal("lightgbm", LIGHTGBM))
    assert affordable(History(0, (), Facts("binary", 2000, 20, 5)), Proposal("lightgbm", LIGHTGBM))


def test_close_and_cheap_families_get_most_of_the_search() -> None:
    trials = (
        done(0, "knn", KNN, 0.5, 0.70),
        done(1, "lightgbm", LIGHTGBM, 1.0, 0.90),
        done(2, "catboost", CATBOOST, 8.0, 0.90),
        done(3, "decision_tree", {}, 0.1, 0.75),
    )
    near = closeness(History(0, trials, FACTS))
    assert near["lightgbm"] == near["catboost"] == 1.0 > 0.6 > near["knn"]
    found = shares(History(0, trials, FACTS), ["knn", "lightgbm", "catboost", "decision_tree"])
    assert sum(found.values()) == pytest.approx(1.0)
    assert found["lightgbm"] > found["catboost"] > 0
    late = History(0, trials, Facts("binary", 2000, 20, 5, 2, seconds_left=4.0))
    assert "catboost" not in shares(late, ["knn", "lightgbm", "catboost"])


PICTURES = Facts("multiclass", 4000, 1, 1, 10, side=28, seconds_left=50.0)
SEEN_ONCE: Mapping[str, Value] = space_of(discover()["pretrained_backbone"]).defaults()


def test_small_pictures_are_expected_to_be_quicker() -> None:
    config = space_of(discover()["hog_kernel"]).defaults()
    small, large = (expected_seconds([], replace(PICTURES, side=side))("hog_kernel", config) for side in (28, 128))
    assert small < 0.7 * large


def test_features_that_are_kept_are_paid_once_whatever_the_folds() -> None:
    facts = replace(PICTURES, n_folds=4)
    fresh = expected_seconds([], facts)
    first = fresh("pretrained_backbone", SEEN_ONCE)
    told = done(0, "pretrained_backbone", SEEN_ONCE, first)  # as long as it was expected to take
    then = expected_seconds([told], facts)
    other_head = {**SEEN_ONCE, "l2": 1e-2}
    cost = discover()["pretrained_backbone"].cost(build(type_of("pretrained_backbone"), SEEN_ONCE), shape_of(facts))
    assert cost.kept is not None
    assert then("pretrained_backbone", other_head) == pytest.approx(first - cost.kept[1], rel=0.01)
    other_size = {**SEEN_ONCE, "size": 160}
    large = replace(facts, side=128)
    assert expected_seconds([told], large)("pretrained_backbone", other_size) > first


def test_a_hold_out_of_pictures_counts_most_of_them() -> None:
    one, half = expected_seconds([], PICTURES), expected_seconds([], replace(PICTURES, n_rows=2000))
    config = space_of(discover()["hog_linear"]).defaults()
    assert one("hog_linear", config) > 1.7 * half("hog_linear", config)


def type_of(family: str) -> type:
    return discover()[family].Config


def shape_of(facts: Facts) -> Shape:
    rows = facts.n_rows * (facts.n_folds - 1) // facts.n_folds
    return Shape(rows, facts.n_features, facts.n_classes, facts.side, facts.chars)


def test_a_family_that_keeps_time_is_not_too_dear_because_it_took_all_there_was() -> None:
    names = ("pretrained_fcos", "detr")
    spaces = {n: space_of(discover()[n]) for n in names}
    facts = Facts("detection", 80, 1, 1, 1, side=256, seconds_left=150.0)
    trials = (
        done(0, "pretrained_fcos", spaces["pretrained_fcos"].defaults(), 228.0, 0.57),
        done(1, "detr", spaces["detr"].defaults(), 46.0, 0.27),
    )
    facts = replace(facts, expected=expected_seconds(trials, facts), keep_time=frozenset(filter(keeps_time, names)))
    assert facts.keep_time and shares(History(0, trials, facts), spaces)["pretrained_fcos"] > 0.5
