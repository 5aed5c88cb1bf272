"""What every family of generators must keep, as a suite that a plug-in's author inherits.

>>> class TestMine(GeneratorSuite):  # doctest: +SKIP
...     @pytest.fixture
...     def family(self):
...         return my_family
"""

from __future__ import annotations

import dataclasses
import json
import math
from functools import cache
from typing import Any

import numpy as np
import pytest

from assay.data.table import Column, ColumnType, Table, Words
from assay.errors import TrialError, TrialStopped
from assay.families import Cost, Shape, space_of
from assay.generation.columns import RowCoder, fit_rows
from assay.generation.compose import Composed, compose_pictures, compose_rows, session
from assay.generation.draw import draw
from assay.generation.judge import PictureJudge, RowJudge
from assay.generation.parts import GeneratorFamily, Pictures, Rows
from assay.metrics.generation import frechet
from assay.model.graph import flatten, unflatten
from assay.space import Space, build
from assay.testing.context import ToyContext

N_TRAIN, N_VALID = 300, 150
N_PICTURES = 192  # to learn from, and half as many held out
FEW_STEPS = 2  # of a fit whose quality does not matter
ENOUGH_STEPS = 30
LABELS = ("left", "right")
_FITTED: dict[str, tuple[Any, Composed]] = {}


class GeneratorSuite:
    """Inherit and give a fixture `family`."""

    @pytest.fixture
    def family(self) -> GeneratorFamily:
        raise NotImplementedError("define a fixture `family` that returns the family to check")

    def test_it_names_itself_its_data_its_lane_and_its_source(self, family: GeneratorFamily) -> None:
        assert family.name.isidentifier() and family.name == family.name.lower()
        assert family.tasks == {"generation"} and family.data in ("rows", "images")
        assert family.lane in ("cpu", "gpu")
        assert len(family.reference) > 20, "name authors, title, venue and year"

    def test_its_space_holds_its_default_and_survives_json(self, family: GeneratorFamily) -> None:
        space, rng = space_of(family), np.random.default_rng(1)
        assert space.contains(space.defaults())
        assert build(family.Config, space.defaults()) == family.Config()
        assert Space.from_json(json.loads(json.dumps(space.to_json()))) == space
        for values in (space.sample(rng) for _ in range(20)):
            config = build(family.Config, values)
            small, large = (family.cost(config, Shape(n, 20)) for n in (1_000, 100_000))
            assert family.steps(config) >= 1 and isinstance(small, Cost)
            assert 0 < small.seconds <= large.seconds and 0 < small.host_bytes <= large.host_bytes

    def test_its_samples_are_nearer_to_the_data_than_noise_is(self, family: GeneratorFamily) -> None:
        _, composed = fitted(family)
        judge = _judge(family.data)
        made = judge.made(sampled(composed, 300), math.nan)
        noise = judge.made(_noise(family.data, 300), math.nan)
        assert frechet(judge.real, made) < 0.7 * frechet(judge.real, noise)

    def test_a_condition_is_met_by_every_sample(self, family: GeneratorFamily) -> None:
        _, composed = fitted(family)
        column, value = ("side", "right") if family.data == "images" else ("plan", "b")
        samples = sampled(composed, 60, {column: value})
        assert (samples[column] == value).all()
        free = sampled(composed, 200)[column]
        assert set(free) == ({"left", "right"} if family.data == "images" else {"a", "b", "c"})

    def test_the_same_seed_draws_the_same_and_ten_of_a_hundred_are_those_of_ten(self, family: GeneratorFamily) -> None:
        _, composed = fitted(family)
        few, many = sampled(composed, 10, seed=3), sampled(composed, 100, seed=3)
        other = sampled(composed, 10, seed=4)
        for name, values in few.items():
            np.testing.assert_array_equal(values, many[name][:10])
        assert any((values != other[name]).any() for name, values in few.items())

    def test_values_stay_in_the_ranges_levels_and_grids_of_the_data(self, family: GeneratorFamily) -> None:
        _, composed = fitted(family)
        samples = sampled(composed, 300)
        if family.data == "images":
            assert samples["image"].shape == (300, 8, 8, 3) and samples["image"].dtype == np.uint8
            assert set(np.unique(samples["image"])) <= set(np.unique(_pictures().x))
            return
        train = _table().take(np.arange(N_TRAIN))
        for name in ("age", "income"):
            known, made = train.numbers(name), samples[name]
            assert np.nanmin(made) >= np.nanmin(known) - 1e-4 and np.nanmax(made) <= np.nanmax(known) + 1e-3
        assert (samples["age"] == np.round(samples["age"])).all()
        assert set(samples["plan"]) <= {"a", "b", "c"}
        assert 0 < np.isnan(samples["income"]).mean() < 0.5
        assert all(len(t) == 19 and t.startswith("202") for t in samples["since"])

    def test_the_same_seed_fits_the_same(self, family: GeneratorFamily) -> None:
        config = family.Config()
        first, second = (
            sampled(_composed(family, _fit(family, config, ToyContext(seed=5, max_steps=FEW_STEPS))), 20)
            for _ in range(2)
        )
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])

    def test_random_configurations_fit_and_draw(self, family: GeneratorFamily) -> None:
        space, rng = space_of(family), np.random.default_rng(3)
        drawn = 0
        for _ in range(2):
            config = build(family.Config, space.sample(rng))
            try:
                generator = _fit(family, config, ToyContext(max_steps=FEW_STEPS))
            except TrialError:
                continue  # a game that diverges says so
            samples = sampled(_composed(family, generator), 5)
            drawn += all(len(v) == 5 for v in samples.values())
        assert drawn >= 1

    def test_the_graph_survives_a_checkpoint(self, family: GeneratorFamily) -> None:
        _, composed = fitted(family)
        structure, arrays = flatten(composed.graph)
        graph = unflatten(json.loads(json.dumps(structure)), arrays)
        again = Composed.from_json(graph, json.loads(json.dumps(composed.to_json())))
        for name, values in sampled(composed, 8).items():
            np.testing.assert_array_equal(values, sampled(again, 8)[name])

    def test_a_likelihood_is_a_number_of_bits_or_none(self, family: GeneratorFamily) -> None:
        generator, _ = fitted(family)
        bits = generator.bits(_rows()[1] if family.data == "rows" else _pictures())
        assert math.isnan(bits) or -5 < bits < 20

    @pytest.mark.parametrize("given", [{"stop_at": 1}, {"seconds": 0.02}])
    def test_a_stop_leaves_a_usable_generator_or_passes(self, family: GeneratorFamily, given: dict[str, Any]) -> None:
        ctx = ToyContext(max_steps=200, **given)
        try:
            generator = _fit(family, family.Config(), ctx)
        except (TrialStopped, TrialError):
            return
        assert len(ctx.reports) <= 3
        assert all(len(v) == 3 for v in sampled(_composed(family, generator), 3).values())


def fitted(family: GeneratorFamily) -> tuple[Any, Composed]:
    """The default configuration, fitted once for the tests that only look."""
    if family.name not in _FITTED:
        generator = _fit(family, family.Config(), ToyContext(max_steps=ENOUGH_STEPS))
        _FITTED[family.name] = generator, _composed(family, generator)
    return _FITTED[family.name]


def sampled(
    composed: Composed, n: int, condition: dict[str, Any] | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
    return draw(session(composed.encoded()), composed.spec, n, seed, condition or {})


def _fit(family: GeneratorFamily, config: Any, ctx: ToyContext) -> Any:
    data = _rows()[1] if family.data == "rows" else _pictures()
    return family.fit(dataclasses.replace(config), data, ctx)


def _composed(family: GeneratorFamily, generator: Any) -> Composed:
    if family.data == "rows":
        return compose_rows(_rows()[0], generator)
    return compose_pictures(generator, 8, 1, LABELS, "side", np.array([0.5, 0.5]))


@cache
def _table() -> Table:
    """A plan that moves everything, an age in whole years, an income with gaps and many zeros, a date."""
    rng = np.random.default_rng(0)
    n = N_TRAIN + N_VALID
    plan = rng.integers(0, 3, n)
    age = np.round(rng.normal(30 + 12 * plan, 5)).clip(18, 90)
    income = np.where(rng.random(n) < 0.2, 0.0, np.round(np.exp(rng.normal(3, 0.4, n)) * (1 + plan) + 0.3 * age, 2))
    income[rng.random(n) < 0.1] = np.nan
    day = np.datetime64("2020-01-01") + rng.integers(0, 1500, n)
    columns: dict[str, Column] = {
        "age": age, "income": income, "since": Words.of([f"{d} 00:00:00" for d in day]),
        "plan": Words.of([("a", "b", "c")[p] for p in plan]),
    }  # fmt: skip
    types = {
        "age": ColumnType.INTEGER, "income": ColumnType.NUMBER, "since": ColumnType.DATETIME, "plan": ColumnType.CATEGORY,
    }  # fmt: skip
    return Table(columns, types)


@cache
def _rows() -> tuple[RowCoder, Rows]:
    train, valid = _table().take(np.arange(N_TRAIN)), _table().take(np.arange(N_TRAIN, N_TRAIN + N_VALID))
    coder = fit_rows(train, "plan")
    return coder, Rows(coder.layout, coder.encode(train), coder.encode(valid))


@cache
def _pictures() -> Pictures:
    """Grey bars, left or right of the middle, of four brightnesses."""
    rng = np.random.default_rng(0)
    n = N_PICTURES + N_PICTURES // 2
    side = rng.integers(0, 2, n)
    x = np.zeros((n, 8, 8, 1), np.uint8)
    for i in range(n):
        at, top = rng.integers(0, 2) + 5 * side[i], rng.integers(0, 3)
        x[i, top : top + 5, at] = rng.choice([85, 170, 255])
    k = N_PICTURES
    return Pictures(x[:k], side[:k], x[k:], side[k:], 2)


@cache
def _judge(data: str) -> RowJudge | PictureJudge:
    if data == "images":
        return PictureJudge(_pictures().x, _pictures().x_valid)
    table = _table()
    return RowJudge(_rows()[0], table.take(np.arange(N_TRAIN)), table.take(np.arange(N_TRAIN, len(table))), "plan")


def _noise(data: str, n: int) -> dict[str, np.ndarray]:
    """Values of the data in no order at all: every cell drawn evenly from its range."""
    rng = np.random.default_rng(1)
    if data == "images":
        return {"image": rng.integers(0, 256, (n, 8, 8, 3), np.uint8)}
    day = np.datetime64("2020-01-01") + rng.integers(0, 1500, n)
    return {
        "age": rng.integers(18, 90, n).astype(float), "income": rng.uniform(0, 300, n),
        "since": np.array([f"{d} 00:00:00" for d in day], object), "plan": rng.choice(np.array(list("abc"), object), n),
    }  # fmt: skip
