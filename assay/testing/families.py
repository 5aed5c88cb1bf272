"""What every family must keep, as a suite that a plug-in's author inherits.

>>> class TestMine(FamilySuite):  # doctest: +SKIP
...     @pytest.fixture
...     def family(self):
...         return my_family
"""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.data.prepare import Recipe
from assay.errors import TimedOut, TrialError, TrialStopped
from assay.families import Cost, Family, FoldsFamily, Predictor, Shape, Split, WholeFamily, space_of
from assay.model.graph import Graph, Port, encode, flatten, unflatten
from assay.space import Space, build
from assay.testing.context import ToyContext
from assay.testing.toy import Toy, toys

TOLERANCE = 1e-5
FEW_STEPS = 24  # of a fit that should have learned a little
LEAST_STEPS = 8  # of a fit whose quality does not matter
ENOUGH_STEPS = 200  # to beat the constant predictor
CLEARLY = 0.97  # times the constant predictor's loss is better than it
RANDOM_CONFIGS = 6  # to try while they are quick, but one for each toy
RANDOM_SECONDS = 4.0

FRESH_PROCESS = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
rows = numpy.load(sys.argv[2])
numpy.save(sys.argv[3], session.run(None, {session.get_inputs()[0].name: rows})[0])
"""

_FITTED: dict[tuple[str, str, str], tuple[Split, Predictor, ToyContext]] = {}


class Satisfied(ToyContext):
    """Tells the fit to stop as soon as it reports a loss that is low enough: what follows proves nothing more."""

    def __init__(self, loss: float, max_steps: int) -> None:
        super().__init__(max_steps=max_steps)
        self._loss = loss

    def report(self, step: int, score: float) -> None:
        super().report(step, score)
        if -score <= self._loss:
            raise TrialStopped


class FamilySuite:
    """Inherit and give a fixture `family`.  Toy data comes from `assay.testing.toy` by the family's task types."""

    @pytest.fixture
    def family(self) -> Family:
        raise NotImplementedError("define a fixture `family` that returns the family to check")

    # -- what it says of itself

    def test_it_names_itself_its_tasks_its_lane_and_its_source(self, family: Family) -> None:
        assert isinstance(family, Family)
        assert family.name.isidentifier() and family.name == family.name.lower()
        assert family.tasks and all(isinstance(t, str) for t in family.tasks)
        assert family.lane in ("cpu", "gpu")
        assert len(family.reference) > 20, "name authors, title, venue and year, or the page of the documentation"

    def test_its_space_holds_its_default_and_survives_json(self, family: Family) -> None:
        space = space_of(family)
        assert dataclasses.is_dataclass(family.Config)
        assert space.contains(space.defaults())
        assert build(family.Config, space.defaults()) == family.Config()
        assert Space.from_json(json.loads(json.dumps(space.to_json()))) == space

    def test_random_configurations_survive_json(self, family: Family) -> None:
        space, rng = space_of(family), np.random.default_rng(1)
        for _ in range(50):
            values = space.sample(rng)
            again = json.loads(json.dumps(values))
            assert again == values and space.contains(again)
            assert build(family.Config, again) == build(family.Config, values)

    def test_recipe_steps_and_cost_answer_for_any_configuration(self, family: Family) -> None:
        space, rng = space_of(family), np.random.default_rng(2)
        for values in [space.defaults(), *(space.sample(rng) for _ in range(20))]:
            config = build(family.Config, values)
            wish = family.recipe(config)
            assert callable(wish.fit) and hash(wish) == hash(family.recipe(config)), "equal wishes share a preparation"
            assert family.steps(config) >= 1
            small, large = (family.cost(config, Shape(n, 20, 3)) for n in (1_000, 100_000))
            for cost in (small, large):
                assert isinstance(cost, Cost) and math.isfinite(cost.seconds)
                assert cost.seconds > 0 and cost.host_bytes > 0
            assert small.seconds <= large.seconds and small.host_bytes <= large.host_bytes

    # -- what it learns

    def test_the_default_beats_the_constant_predictor(self, family: Family) -> None:
        for toy in self.toys(family):
            config = family.Config()
            split = toy.split(family.recipe(config))
            enough = CLEARLY * toy.loss(split, toy.naive(split))
            most = min(family.steps(config), ENOUGH_STEPS)
            loss = math.inf
            try:
                predictor = family.fit(config, split, Satisfied(0.8 * enough, most))
                loss = toy.loss(split, self.checked(predictor, split, split.x_valid))
            except TrialStopped:
                pass  # its way to answer a stop
            if loss >= enough:
                predictor = family.fit(config, split, ToyContext(max_steps=most))
                loss = toy.loss(split, self.checked(predictor, split, split.x_valid))
            assert loss < enough, toy.name

    def test_random_configurations_fit_and_export(self, family: Family) -> None:
        space, rng, failed, tried = space_of(family), np.random.default_rng(3), 0, 0
        known, until = self.toys(family), time.monotonic() + RANDOM_SECONDS
        for toy in islice(cycle(known), RANDOM_CONFIGS):
            if tried >= len(known) and time.monotonic() > until:
                break
            tried += 1
            config = build(family.Config, space.sample(rng))
            split = toy.split(family.recipe(config))
            try:
                predictor = family.fit(config, split, self.short(family, config, most=LEAST_STEPS))
            except TrialError:  # a configuration may be wrong for the data, and say so
                failed += 1
                continue
            prediction = self.checked(predictor, split, split.x_valid)
            answer = run_graph(predictor.to_onnx("x"), split.x_valid)
            np.testing.assert_allclose(answer, prediction, TOLERANCE, TOLERANCE, err_msg=str(config))
        assert failed <= max(1, tried // 2), f"{failed} of {tried} random configurations failed"

    def test_all_rows_train_without_a_validation_part(self, family: Family) -> None:
        if not isinstance(family, WholeFamily):
            pytest.skip("not a family that trains without a validation part")
        config, steps = family.Config(), min(family.steps(family.Config()), LEAST_STEPS)
        for toy in self.toys(family):
            split = toy.split(family.recipe(config))
            whole = dataclasses.replace(split, x_valid=split.x[:0], y_valid=split.y[:0], weight_valid=None)
            if isinstance(family, FoldsFamily):
                _, predictor = family.fit_folds(config, [split, whole], ToyContext(max_steps=steps))
            else:
                predictor = family.fit(config, whole, ToyContext(max_steps=steps))
                assert getattr(predictor, "best_step", steps) == steps, "without validation rows every step is kept"
            prediction = self.checked(predictor, split, split.x_valid)
            np.testing.assert_allclose(
                run_graph(predictor.to_onnx("x"), split.x_valid), prediction, TOLERANCE, TOLERANCE
            )

    def test_one_row_predicts_as_in_a_batch(self, family: Family) -> None:
        for _, split, predictor in self.fitted(family):
            together = predictor.predict(split.x_valid)
            alone = np.concatenate([predictor.predict(split.x_valid[i : i + 1]) for i in range(25)])
            np.testing.assert_allclose(alone, together[:25], TOLERANCE, TOLERANCE)

    def test_prediction_does_not_change_its_input(self, family: Family) -> None:
        for _, split, predictor in self.fitted(family):
            before = split.x_valid.copy()
            predictor.predict(split.x_valid)
            np.testing.assert_array_equal(before, split.x_valid)

    # -- its graph

    def test_the_graph_equals_the_predictor_on_real_missing_and_extreme_rows(self, family: Family) -> None:
        for toy, split, predictor in self.fitted(family):
            rows = self.hard_rows(family, split)
            expected = self.checked(predictor, split, rows)
            graph = predictor.to_onnx("x")
            np.testing.assert_allclose(run_graph(graph, rows), expected, TOLERANCE, TOLERANCE, err_msg=toy.name)
            alone = np.concatenate([run_graph(graph, rows[i : i + 1]) for i in range(10)])
            np.testing.assert_allclose(alone, expected[:10], TOLERANCE, TOLERANCE, err_msg="one row at a time")

    def test_the_graph_survives_a_checkpoint_and_a_fresh_process(self, family: Family, tmp_path: Path) -> None:
        toy, split, predictor = next(self.fitted(family))
        structure, arrays = flatten(predictor.to_onnx("x"))
        graph = unflatten(json.loads(json.dumps(structure)), arrays)
        model, rows, answer = tmp_path / "model.onnx", tmp_path / "rows.npy", tmp_path / "answer.npy"
        model.write_bytes(encoded(graph, split.x_valid))
        np.save(rows, split.x_valid)
        subprocess.run([sys.executable, "-c", FRESH_PROCESS, str(model), str(rows), str(answer)], check=True)
        np.testing.assert_allclose(
            np.load(answer), predictor.predict(split.x_valid), TOLERANCE, TOLERANCE, err_msg=toy.name
        )

    # -- how it behaves

    def test_the_same_seed_gives_the_same_reports_and_predictions(self, family: Family) -> None:
        for toy, split, first in self.fitted(family):
            ctx = self.short(family, family.Config(), most=LEAST_STEPS)
            second = family.fit(family.Config(), split, ctx)
            assert ctx.reports == self.told(family, toy).reports
            np.testing.assert_array_equal(first.predict(split.x_valid), second.predict(split.x_valid))

    def test_reports_count_upwards_within_the_allowed_steps(self, family: Family) -> None:
        for toy, _, _ in self.fitted(family):
            ctx = self.told(family, toy)
            steps = [step for step, _ in ctx.reports]
            assert steps == sorted(set(steps)) and all(1 <= s <= ctx.max_steps for s in steps)
            assert all(math.isfinite(score) for _, score in ctx.reports)

    @pytest.mark.parametrize("step", [1, 12])
    def test_a_stop_leaves_a_usable_predictor_or_passes(self, family: Family, step: int) -> None:
        for toy in self.toys(family):
            config = family.Config()
            split = toy.split(family.recipe(config))
            ctx = ToyContext(stop_at=step, max_steps=family.steps(config))
            try:
                predictor = family.fit(config, split, ctx)
            except TrialStopped:
                continue
            self.checked(predictor, split, split.x_valid)
            assert sum(s >= step for s, _ in ctx.reports) <= 1, "it went on after it was told to stop"

    def test_too_little_time_leaves_a_usable_predictor_or_passes(self, family: Family) -> None:
        for toy in self.toys(family):
            config = family.Config()
            split = toy.split(family.recipe(config))
            try:
                predictor = family.fit(config, split, ToyContext(seconds=0.02))
            except (TrialStopped, TimedOut):
                continue
            self.checked(predictor, split, split.x_valid)

    def test_sample_weights_count(self, family: Family) -> None:
        for toy in self.toys(family):
            config = family.Config()
            split = toy.split(family.recipe(config))
            if not _is_tabular(split):
                continue
            heavy = split.y == 0 if not split.target.is_regression else split.y < 0
            weight = np.where(heavy, 20.0, 0.5)
            weighted = dataclasses.replace(split, weight=weight, weight_valid=np.ones(len(split.y_valid)))
            plain = self.fit(family, config, split).predict(split.x_valid)
            shifted = self.checked(self.fit(family, config, weighted), weighted, split.x_valid)
            if split.target.is_regression:
                assert shifted.mean() < plain.mean(), "rows with small targets weigh more: predictions should sink"
            else:
                assert shifted[:, 0].mean() > plain[:, 0].mean(), "class 0 weighs more: its probability should rise"

    def test_a_class_without_training_rows_gets_a_column(self, family: Family) -> None:
        for toy in self.toys(family):
            config = family.Config()
            split = toy.split(family.recipe(config))
            if not _is_tabular(split) or split.target.is_regression:
                continue
            kept = split.y != 1
            absent = dataclasses.replace(split, x=split.x[kept], y=split.y[kept])
            predictor = self.fit(family, config, absent)
            prediction = self.checked(predictor, absent, split.x_valid)
            assert prediction[:, 1].mean() < 0.1, "the class was never seen"
            np.testing.assert_allclose(
                run_graph(predictor.to_onnx("x"), split.x_valid), prediction, TOLERANCE, TOLERANCE
            )

    def test_a_dozen_rows_are_enough(self, family: Family) -> None:
        for toy in self.toys(family):
            config = family.Config()
            split = toy.split(family.recipe(config))
            if not _is_tabular(split):
                continue
            tiny = dataclasses.replace(
                split, x=split.x[:12], y=split.y[:12], x_valid=split.x_valid[:4], y_valid=split.y_valid[:4]
            )
            predictor = self.fit(family, config, tiny)
            prediction = self.checked(predictor, tiny, split.x_valid)
            np.testing.assert_allclose(
                run_graph(predictor.to_onnx("x"), split.x_valid), prediction, TOLERANCE, TOLERANCE
            )

    def test_all_folds_at_once_equal_one_by_one(self, family: Family) -> None:
        if not isinstance(family, FoldsFamily):
            pytest.skip("it fits fold by fold")
        for toy in self.toys(family):
            config = family.Config()
            split = toy.split(family.recipe(config))
            half = np.arange(len(split.y) * 2 // 3)
            folds = [split, dataclasses.replace(split, x=split.x[half], y=split.y[half])]
            together = family.fit_folds(config, folds, self.short(family, config, most=LEAST_STEPS))
            alone = [family.fit_folds(config, [f], self.short(family, config, most=LEAST_STEPS))[0] for f in folds]
            for fold, a, b in zip(folds, together, alone, strict=True):
                loss_a, loss_b = (toy.loss(fold, p.predict(fold.x_valid)) for p in (a, b))
                assert loss_a == pytest.approx(loss_b, rel=0.1), "folds trained together drift from folds trained alone"

    # -- helpers, free to override

    def toys(self, family: Family) -> list[Toy]:
        """Toy problems of every declared task, in the form that the family reads."""
        form = getattr(family, "form", "table")
        found = [toy for task in sorted(family.tasks) for toy in toys(task) if toy.form == form]
        assert found, f"no toy data for {sorted(family.tasks)}; call assay.testing.toy.register for one of them"
        return found

    def short(self, family: Family, config: Any, seed: int = 0, most: int = FEW_STEPS) -> ToyContext:
        """A context for a quick fit."""
        return ToyContext(seed=seed, max_steps=min(family.steps(config), most))

    def fit(self, family: Family, config: Any, split: Split) -> Predictor:
        return family.fit(config, split, self.short(family, config))

    def fitted(self, family: Family) -> Iterator[tuple[Toy, Split, Predictor]]:
        """The default configuration, fitted briefly on every toy, once for all tests of the suite that only look."""
        for toy in self.toys(family):
            key = (type(self).__qualname__, family.name, toy.name)
            if key not in _FITTED:
                split = toy.split(family.recipe(family.Config()))
                ctx = self.short(family, family.Config(), most=LEAST_STEPS)
                _FITTED[key] = split, family.fit(family.Config(), split, ctx), ctx
            yield toy, *_FITTED[key][:2]

    def told(self, family: Family, toy: Toy) -> ToyContext:
        """What the fit of `fitted` reported."""
        return _FITTED[type(self).__qualname__, family.name, toy.name][2]

    def checked(self, predictor: Predictor, split: Split, x: np.ndarray) -> np.ndarray:
        """A prediction, once its shape and range are right."""
        prediction = np.asarray(predictor.predict(x))
        assert prediction.shape == (len(x), split.target.n_outputs)
        assert np.isfinite(prediction).all()
        if split.target.n_classes:
            assert prediction.min() >= -1e-6
            np.testing.assert_allclose(prediction.sum(axis=1), 1.0, atol=1e-4)
        return prediction

    def hard_rows(self, family: Family, split: Split) -> np.ndarray:
        """Validation rows, then rows of zeros, far values and, where the recipe keeps them, missing values."""
        rows = split.x_valid[:40]
        one = np.ones_like(rows[:1])
        if rows.dtype == np.uint8:  # pixels: black, white and noise are as far as they go
            noise = np.random.default_rng(0).integers(0, 256, rows[:5].shape).astype(np.uint8)
            return np.concatenate([rows, 0 * one, 255 * one, noise])
        hard = [rows, 0 * one, rows[:5] * 100, 1e6 * one, -1e6 * one]
        recipe = family.recipe(family.Config())
        if isinstance(recipe, Recipe) and recipe.numbers == "raw" and not recipe.impute and rows.dtype.kind == "f":
            gaps = rows.copy()
            gaps[np.random.default_rng(0).random(gaps.shape) < 0.4] = np.nan
            hard += [gaps, np.nan * one]
        return np.concatenate([h.astype(rows.dtype) for h in hard])


def _is_tabular(split: Split) -> bool:
    return split.x.ndim == 2 and split.target.kind in ("binary", "multiclass", "regression")


def encoded(graph: Graph, x: np.ndarray) -> bytes:
    """The graph of one predictor as an ONNX model over rows like x."""
    free: list[int | str | None] = [None] * 2
    return encode(graph, [Port("x", str(x.dtype), [None, *x.shape[1:]])], [Port(graph.output, "float32", free)])


def run_graph(graph: Graph, x: np.ndarray) -> np.ndarray:
    """What onnxruntime makes of a predictor's graph over the rows x."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(encoded(graph, x), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])
