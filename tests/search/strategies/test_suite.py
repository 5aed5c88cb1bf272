"""The shipped suite over every strategy there is: a new file is found and checked."""

from __future__ import annotations

import pytest

from assay.search.strategies import SearchStrategy, discover
from assay.testing.strategies import StrategySuite, in_a_fresh_process


@pytest.fixture(params=sorted(discover()), scope="class")
def chosen(request: pytest.FixtureRequest) -> None:
    request.cls.strategy = discover()[request.param]
    request.cls.beats_random = request.param != "random"


@pytest.mark.usefixtures("chosen")
class TestEveryStrategy(StrategySuite):
    pass


def test_all_seven_are_there_and_keep_the_protocol() -> None:
    assert set(discover()) >= {"annealing", "auto", "bayesian", "bohb", "genetic", "portfolio", "random"}
    assert all(isinstance(s, SearchStrategy) for s in discover().values())


@pytest.mark.parametrize("name", ["bayesian", "genetic"])
def test_the_answer_does_not_depend_on_the_process(name: str) -> None:
    assert in_a_fresh_process(name, "1") == in_a_fresh_process(name, "2")
