"""What all strategies share when they propose."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from assay.search.strategies._asking import ask, random_proposal
from assay.search.trial import History, Proposal, TrialStatus
from assay.space import Choice, Dimension, Float, Int, Space
from tests.search.strategies.rows import LINE, history, trial

TINY = Space((Dimension("n", Int(1, 3), 2),))
SPACES = {"tiny": TINY, "line": LINE}


def stubborn(seen: History, left: Mapping[str, Space], attempt: int) -> Proposal:
    """Always the same answer."""
    family = next(iter(left))
    return Proposal(family, left[family].defaults())


def asked(past: History, n: int, spaces: Mapping[str, Space] = SPACES, defaults: int | None = None) -> list[Proposal]:
    return ask(past, spaces, np.random.default_rng(0), n, stubborn, defaults)


def test_defaults_come_first_in_the_order_of_the_caller() -> None:
    assert [p.family for p in asked(history(), 2)] == ["tiny", "line"]
    assert [p.family for p in asked(history(), 2, {"line": LINE, "tiny": TINY})] == ["line", "tiny"]
    assert all(p.config == SPACES[p.family].defaults() and p.note == "default" for p in asked(history(), 2))


def test_a_family_that_joins_later_starts_with_its_default() -> None:
    past = history(trial(0, "tiny", 1.0, config={"n": 2}), trial(1, "tiny", 1.0, config={"n": 1}))
    assert asked(past, 1)[0] == Proposal("line", {"x": 0.5}, "default")


def test_a_strategy_that_repeats_itself_is_helped_out() -> None:
    found = asked(history(), 8)
    assert len({(p.family, SPACES[p.family].key(p.config)) for p in found}) == 8


def test_a_failed_an_open_and_a_stopped_configuration_are_not_tried_again() -> None:
    past = history(
        trial(0, "tiny", status=TrialStatus.FAILED, config={"n": 1}),
        trial(1, "tiny", config={"n": 2}),
        trial(2, "tiny", status=TrialStatus.STOPPED, config={"n": 3}),
    )
    assert asked(past, 5, {"tiny": TINY}) == []


def test_asking_for_more_than_is_left_returns_what_is_left() -> None:
    assert sorted(str(p.config["n"]) for p in asked(history(), 9, {"tiny": TINY})) == ["1", "2", "3"]


def test_an_exhausted_family_is_not_offered_to_the_strategy_any_more() -> None:
    offered: list[set[str]] = []

    def draw(seen: History, left: Mapping[str, Space], attempt: int) -> Proposal:
        offered.append(set(left))
        return random_proposal(left, np.random.default_rng(len(offered)))

    past = history(
        *(trial(i, "tiny", 1.0, config={"n": i + 1}) for i in range(3)), trial(3, "line", 1.0, config={"x": 0.5})
    )
    found = ask(past, SPACES, np.random.default_rng(0), 3, draw)
    assert {p.family for p in found} == {"line"} and set.union(*offered) == {"line"}


def test_a_configuration_from_outside_the_space_does_not_end_a_finite_search_early() -> None:
    past = history(*(trial(i, "tiny", 1.0, config={"n": i + 2}) for i in range(3)))  # n = 2, 3 and, outside, 4
    assert asked(past, 5, {"tiny": TINY})[0].config == {"n": 1}


def test_later_draws_of_one_ask_see_the_earlier_ones_as_open_trials() -> None:
    seen_open: list[int] = []

    def draw(seen: History, left: Mapping[str, Space], attempt: int) -> Proposal:
        seen_open.append(len(seen.open))
        return Proposal("line", {"x": 0.01 * seen.next_number})

    ask(history(trial(0, "line", 1.0, config={"x": 0.5})), {"line": LINE}, np.random.default_rng(0), 3, draw)
    assert seen_open == [0, 1, 2]


def test_the_answer_to_a_smaller_ask_is_the_beginning_of_the_answer_to_a_larger_one() -> None:
    def draw(rng: np.random.Generator, n: int) -> list[Proposal]:
        return ask(history(), {"line": LINE}, rng, n, lambda seen, left, attempt: random_proposal(left, rng))

    assert draw(np.random.default_rng(3), 6)[:2] == draw(np.random.default_rng(3), 2)


def test_no_families_or_families_without_dimensions_come_to_an_end() -> None:
    assert asked(history(), 3, {}) == []
    found = asked(history(), 3, {"fixed": Space(()), "one": Space((Dimension("c", Choice("only"), "only"),))})
    assert [(p.family, p.config) for p in found] == [("fixed", {}), ("one", {"c": "only"})]


def test_a_draw_without_an_idea_leaves_it_to_chance() -> None:
    space = Space((Dimension("x", Float(0.0, 1.0), 0.5),))
    found = ask(history(), {"a": space}, np.random.default_rng(0), 3, lambda seen, left, attempt: None)
    assert [p.note for p in found] == ["default", "random", "random"]
