"""Dimensions, conditions and the values between them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.space import Choice, Dimension, Float, Int, Space, When, build


@dataclass(frozen=True)
class Config:
    optimizer: Annotated[str, Choice("sgd", "adam")] = "adam"
    lr: Annotated[float, Float(1e-4, 1.0, log=True)] = 1e-2
    nesterov: Annotated[bool, Choice(False, True), When("optimizer", "sgd")] = False
    momentum: Annotated[float, Float(0.5, 0.99), When("nesterov", True)] = 0.9
    layers: Annotated[int, Int(1, 4)] = 2
    width: Annotated[int, Int(8, 512, log=True)] = 64
    share: Annotated[str | float, Choice("sqrt", 0.5, 1.0)] = "sqrt"
    rounds: int = 100  # no domain: a constant


SPACE = Space.of(Config)


def test_a_field_without_a_domain_takes_no_part() -> None:
    assert [d.name for d in SPACE] == ["optimizer", "lr", "nesterov", "momentum", "layers", "width", "share"]
    assert build(Config, SPACE.defaults()) == Config()


def test_a_dimension_counts_only_while_its_whole_chain_of_conditions_holds() -> None:
    assert "momentum" not in SPACE.active({"optimizer": "adam", "nesterov": True})
    assert "momentum" in SPACE.active({"optimizer": "sgd", "nesterov": True})
    assert "nesterov" in SPACE.active({"optimizer": "sgd"})


def test_configurations_that_behave_the_same_have_one_spelling() -> None:
    a = SPACE.complete({"optimizer": "adam", "momentum": 0.6, "nesterov": True})
    assert a == SPACE.defaults()
    assert SPACE.key({"momentum": 0.6}) == SPACE.key({})
    assert SPACE.key({"optimizer": "sgd"}) != SPACE.key({"optimizer": "sgd", "nesterov": True})
    assert SPACE.key(dict(reversed(a.items()))) == SPACE.key(a)


@pytest.mark.parametrize(
    ("change", "inside"),
    [
        ({}, True),
        ({"lr": 1.0}, True),
        ({"lr": 1.1}, False),
        ({"lr": math.nan}, False),
        ({"lr": True}, False),
        ({"lr": "0.1"}, False),
        ({"layers": 2.0}, False),
        ({"layers": True}, False),
        ({"layers": 5}, False),
        ({"nesterov": 1}, False),
        ({"share": 0.5}, True),
        ({"share": 0.4}, False),
        ({"unknown": 1}, False),
    ],
)
def test_contains_checks_names_types_and_bounds(change: dict[str, Any], inside: bool) -> None:
    assert SPACE.contains({**SPACE.defaults(), **change}) is inside


def test_a_configuration_with_a_missing_value_is_not_contained() -> None:
    assert not SPACE.contains({k: v for k, v in SPACE.defaults().items() if k != "lr"})


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_samples_and_neighbours_are_complete_and_survive_json_and_the_unit_cube(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = SPACE.sample(rng)
    for config in (values, *SPACE.neighbours(values, rng, 3, scale=0.3)):
        assert SPACE.contains(config)
        assert SPACE.complete(config) == config
        assert json.loads(json.dumps(config)) == config
        again = SPACE.from_unit(SPACE.to_unit(config))
        assert {k: v for k, v in again.items() if not isinstance(v, float)} == {
            k: v for k, v in config.items() if not isinstance(v, float)
        }
        assert again["lr"] == pytest.approx(config["lr"])


def test_every_whole_number_is_equally_likely_at_both_ends() -> None:
    rng = np.random.default_rng(0)
    drawn = [Int(1, 4).from_unit(float(u)) for u in rng.random(4000)]
    assert np.bincount(drawn, minlength=5)[1:].min() > 900


def test_a_logarithmic_range_is_searched_by_decades() -> None:
    domain = Float(1e-4, 1.0, log=True)
    assert domain.from_unit(0.5) == pytest.approx(1e-2)
    assert domain.to_unit(1e-3) == pytest.approx(0.25)


def test_a_step_changes_the_value_and_stays_inside() -> None:
    rng = np.random.default_rng(0)
    assert {SPACE.mutate("optimizer", "adam", rng, 0.1) for _ in range(5)} == {"sgd"}
    assert all(1e-4 <= float(SPACE.mutate("lr", 1.0, rng, 3.0) or 0) <= 1.0 for _ in range(200))


def test_a_neighbour_differs_in_at_most_two_of_the_dimensions_that_count() -> None:
    space = Space(tuple(Dimension(f"x{i}", Float(0.0, 1.0), 0.5) for i in range(6)))
    for found in space.neighbours(space.defaults(), np.random.default_rng(0), 50):
        assert 1 <= sum(found[d.name] != d.default for d in space) <= 2


def test_the_same_generator_gives_the_same_samples() -> None:
    assert SPACE.sample(np.random.default_rng(7)) == SPACE.sample(np.random.default_rng(7))


def test_a_space_without_dimensions_has_one_configuration() -> None:
    empty = Space(())
    assert empty.sample(np.random.default_rng(0)) == {} == empty.neighbours({}, np.random.default_rng(0), 1)[0]
    assert empty.size() == 1 and empty.key({}) == "{}"


def test_size_is_infinite_with_a_real_dimension_and_a_product_otherwise() -> None:
    assert SPACE.size() == math.inf
    assert Space((Dimension("a", Int(1, 5), 1), Dimension("b", Choice("x", "y"), "x"))).size() == 10


def test_a_space_survives_json_unchanged() -> None:
    assert Space.from_json(json.loads(json.dumps(SPACE.to_json()))) == SPACE


def test_the_json_schema_tells_bounds_defaults_scales_and_conditions() -> None:
    schema = SPACE.json_schema()
    assert schema["properties"]["lr"] == {
        "type": "number", "minimum": 1e-4, "maximum": 1.0, "x-scale": "log", "default": 1e-2,
    }  # fmt: skip
    assert schema["properties"]["nesterov"]["x-when"] == {"optimizer": ["sgd"]}
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("dimensions", "says"),
    [
        ((Dimension("a", Int(1, 2), 1), Dimension("a", Int(1, 2), 1)), "declared twice"),
        ((Dimension("a", Int(1, 2), 1, When("b", 1)), Dimension("b", Int(1, 2), 1)), "not declared before"),
        ((Dimension("a", Int(1, 2), 3),), "outside"),
    ],
)
def test_a_space_that_contradicts_itself_is_refused(dimensions: tuple[Dimension, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Space(dimensions)


@pytest.mark.parametrize(("low", "high", "log"), [(2, 1, False), (0, 10, True), (-1, 1, True)])
@pytest.mark.parametrize("kind", [Float, Int])
def test_a_range_that_cannot_be_searched_is_refused(kind: type, low: int, high: int, log: bool) -> None:
    with pytest.raises(ValueError, match=kind.__name__):
        kind(low, high, log)


@pytest.mark.parametrize("values", [(), ("a", "a"), (1, True)])
def test_a_choice_needs_distinct_values(values: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="distinct"):
        Choice(*values)


def test_a_field_with_a_domain_needs_a_default() -> None:
    @dataclass(frozen=True)
    class NoDefault:
        x: Annotated[float, Float(0.0, 1.0)]

    with pytest.raises(ValueError, match=r"NoDefault\.x has a domain but no default"):
        Space.of(NoDefault)


def test_a_narrowed_space_keeps_conditions_and_moves_a_lost_default() -> None:
    space = Space(
        (
            Dimension("optimizer", Choice("sgd", "adam", "rmsprop"), "adam"),
            Dimension("momentum", Float(0.0, 0.9), 0.5, When("optimizer", "sgd")),
        )
    )
    narrow = space.narrowed("optimizer", ["rmsprop", "sgd"])
    assert narrow is not None
    assert narrow["optimizer"].domain == Choice("sgd", "rmsprop") and narrow["optimizer"].default == "sgd"
    assert narrow["momentum"].when == When("optimizer", "sgd")
    assert space.narrowed("optimizer", ["lion"]) is None
    assert space.narrowed("depth", [3]) is space
    with pytest.raises(ValueError, match="not a choice"):
        space.narrowed("momentum", [0.5])
