"""Generation as a task: what it decides, what it refuses, and one job through the library."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import assay
from assay.data.table import ColumnType, Table, Words
from assay.errors import DataError, Memorised, SpecError, TimedOut
from assay.families import discover as families
from assay.generation.compose import Composed
from assay.generation.evaluate import judged
from assay.generation.stage import stage_of
from assay.metrics.generation import Made, Real
from assay.spec import JobSpec, Resolved, resolve
from assay.tasks import discover
from assay.tasks._problem import Problem
from assay.testing.tasks import facts_of
from assay.training.evaluate import Matrices, Request

N = 240


def table() -> Table:
    rng = np.random.default_rng(0)
    plan = rng.integers(0, 2, N)
    columns = {
        "plan": Words.of([("a", "b")[p] for p in plan]),
        "age": np.round(rng.normal(30 + 20 * plan, 4)),
        "spend": np.where(rng.random(N) < 0.1, np.nan, np.round(rng.lognormal(2 + plan, 0.3), 2)),
        "key": Words.of([f"k{i}" for i in range(N)]),
    }
    kinds = (ColumnType.CATEGORY, ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.ID)
    return Table(columns, dict(zip(columns, kinds, strict=True)))


def resolved(**parts: Any) -> Resolved:
    task = {"type": "generation", **parts.pop("task", {})}
    return resolve(JobSpec.from_json({"task": task, **parts}), facts_of(table()))


def test_it_needs_no_target_leaves_ids_out_and_tells_why() -> None:
    found = resolved()
    assert (found.kind, found.target, found.metric) == ("generated_rows", "", "two_sample")
    assert found.features == ("plan", "age", "spend") and found.left_out[0][0] == "key"
    assert (found.method, found.folds, found.ensemble) == ("cv", 3, True)
    assert "pixel_cnn" not in found.families and "sequential_trees" in found.families
    assert Resolved.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    ("parts", "pointer"),
    [
        ({"task": {"target": "plam"}}, "/task/target"),
        ({"task": {"target": "plan", "ignore_columns": ["plan"]}}, "/task/target"),
        ({"task": {"weight_column": "age"}}, "/task/weight_column"),
        ({"task": {"ignore_columns": ["plan", "age", "spend"]}}, "/task/ignore_columns"),
        ({"objective": {"metric": "roc_auc"}}, "/objective/metric"),
        ({"objective": {"metric": "tstr"}}, "/task/target"),
        ({"validation": {"method": "time"}}, "/validation/method"),
        ({"search": {"families": ["pixel_cnn"]}}, "/search/families/0"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(parts: dict[str, Any], pointer: str) -> None:
    with pytest.raises(SpecError) as caught:
        resolved(**parts)
    assert caught.value.pointer == pointer


def test_test_rows_are_in_no_fold_and_the_same_input_gives_the_same_problem() -> None:
    task = discover()["generation"]
    one = {"method": "holdout", "folds": 3}
    a, b = (task.prepare(table(), resolved(task={"target": "plan"}, validation=one)) for _ in range(2))
    ((train, valid),) = a.folds.pairs
    assert len(a.folds.test) == 24 and not set(a.folds.test) & (set(train) | set(valid)) and not set(train) & set(valid)
    assert (b.folds.pairs[0][0] == train).all() and (b.folds.test == a.folds.test).all()


def test_a_job_through_the_library_ends_in_a_generator_that_draws(tmp_path: Path) -> None:
    model = assay.fit(table(), "plan", task="generation", trials=2, seconds=900, families=["gaussian_mixture_rows"])
    assert 0 < model.metrics["fidelity"] <= model.metrics["two_sample"] <= 1 and model.metrics["memorised"] < 0.01
    assert model.manifest.test_metrics["two_sample"] > 0
    assert model.manifest.info["trained_on_all_rows"] and model.manifest.info["rows"] == {"train": N, "test": 24}
    rows = model.generate(50, seed=2, condition={"plan": "b"}).rows()
    assert {r["plan"] for r in rows} == {"b"} and np.mean([r["age"] for r in rows]) > 40
    assert model.generate(5, seed=2).csv().splitlines()[0] == "plan,age,spend"
    with pytest.raises(DataError, match="use generate"):
        model.predict([{"age": 3}])
    with pytest.raises(DataError, match="'plan' is never 'z'"):
        model.generate(1, condition={"plan": "z"})
    with zipfile.ZipFile(model.save(tmp_path / "model.zip")) as bundle:
        bundle.extractall(tmp_path)
    command = [sys.executable, "generate.py", "50", "out.csv", "--seed", "2", "--set", "plan=b"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "out.csv").read_text() == model.generate(50, seed=2, condition={"plan": "b"}).csv()
    assert assay.load(tmp_path / "model.zip").generate(50, seed=2, condition={"plan": "b"}).rows() == rows


@dataclasses.dataclass(frozen=True)
class Parrot:
    """Draws the rows it was given, one by one."""

    rows: Any
    noise: int = 0
    uniform: int = 1

    def bits(self, data: Any) -> float:
        return float("nan")

    def emit(self, inputs: Any) -> Any:
        from assay.generation.parts import DrawnParts

        s = inputs.scope
        row = s.add("Cast", s.add("Mul", inputs.u(0), s.const(np.float32(len(self.rows)))), to=7)
        row = s.add("Squeeze", row, s.const([1]))
        codes = tuple(s.add("Gather", s.const(c), row) for c in self.rows.codes.T)
        return DrawnParts(codes, s.add("Gather", s.const(self.rows.scores), row))


def test_a_generator_that_copies_training_rows_fails_its_trial(tmp_path: Path) -> None:
    """`gaussian_copula` replaced by one that draws the training rows again, one by one."""
    task = discover()["generation"]
    rng = np.random.default_rng(0)
    numbers = Table({c: rng.normal(size=N) for c in "abcd"}, dict.fromkeys("abcd", ColumnType.NUMBER))
    found = resolve(JobSpec.from_json({"task": {"type": "generation"}}), facts_of(numbers))
    problem = task.prepare(numbers, found)

    class Copies(type(families()["gaussian_copula"])):  # type: ignore[misc]
        def fit(self, config: Any, data: Any, ctx: Any) -> Any:
            return Parrot(data.train)

    request = Request(Copies(), {"shrinkage": 0.01, "order": "share"}, 0, tmp_path / "c")
    with pytest.raises(Memorised, match="are copies of training data"):
        task.evaluate(Matrices(problem), request)
    assert not (tmp_path / "c").exists()


def test_what_is_trained_again_on_all_rows_is_looked_at_for_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once more `gaussian_copula`, whose second fit draws the training rows; and there is no second fit without time."""
    from assay.generation.refit import refit
    from assay.model import checkpoint

    task = discover()["generation"]
    problem = task.prepare(table(), resolved(task={"target": "plan"}))
    request = Request(families()["gaussian_copula"], {"shrinkage": 0.01, "order": "share"}, 0, tmp_path / "c")
    task.evaluate(Matrices(problem), request)
    opened = checkpoint.load(tmp_path / "c")
    assert opened.info["fit"]["config"] == request.config
    composed = Composed.from_json(opened.graph, opened.info["generator"])
    assert refit(problem, [("gaussian_copula", opened)], composed, 60.0) is not None
    assert refit(problem, [("gaussian_copula", opened)], composed, 1e-6) is None
    monkeypatch.setattr(families()["gaussian_copula"], "fit", lambda config, data, ctx: Parrot(data.train))
    assert refit(problem, [("gaussian_copula", opened)], composed, 60.0) is None


def test_samples_that_are_all_the_same_are_a_collapse() -> None:
    from assay.errors import Diverged

    problem = Problem.__new__(Problem)
    x = np.random.default_rng(0).normal(size=(50, 3))
    flat = np.zeros((50, 3)) + 1e-4 * x
    with pytest.raises(Diverged, match="collapsed"):
        judged(problem, Real(x, x, x), Made(flat, flat))


def test_pictures_are_read_once_grey_as_grey_with_their_folder_as_condition() -> None:
    problem = pictures()
    assert problem.classes == ("left", "right") and problem.resolved.target == "label"
    stage: Any = stage_of(problem, 0)
    assert stage.data.x.shape[1:] == (8, 8, 1) and stage.data.n_labels == 2
    assert stage_of(problem, 0) is stage


def test_a_job_on_pictures_draws_pictures() -> None:
    model = assay.fit(picture_table(), task="generation", trials=1, seconds=60, families=["gaussian_mixture_images"])
    samples = model.generate(6, seed=1, condition={"label": "left"})
    assert samples.images is not None and samples.images.shape == (6, 8, 8, 3)
    assert samples.rows() == [{"label": "left"}] * 6
    assert samples.sheet().startswith(b"\x89PNG")
    left, right = (model.generate(40, condition={"label": side}).images for side in ("left", "right"))
    assert left is not None and right is not None
    assert left[:, :, :4].mean() > 1.5 * left[:, :, 4:].mean() and right[:, :, 4:].mean() > 1.5 * right[:, :, :4].mean()


def picture_table() -> Table:
    import io

    from PIL import Image

    from assay.data.table import Blobs
    from assay.testing.generators import _pictures

    x, y = _pictures().x, _pictures().y

    def png(pixels: np.ndarray) -> bytes:
        out = io.BytesIO()
        Image.fromarray(pixels[:, :, 0]).save(out, "PNG")
        return out.getvalue()

    columns = {
        "image": Blobs.of([png(p) for p in x]), "path": Words.of([f"{i}.png" for i in range(len(x))]),
        "label": Words.of([("left", "right")[c] for c in y]),
    }  # fmt: skip
    return Table(columns, {"image": ColumnType.IMAGE, "path": ColumnType.ID, "label": ColumnType.CATEGORY})


def pictures() -> Problem:
    from assay.data.profile import profile

    found = resolve(JobSpec.from_json({"task": {"type": "generation"}}), profile(picture_table()))
    return discover()["generation"].prepare(picture_table(), found)


def test_a_trial_past_its_seconds_is_not_judged_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Composing, drawing and judging take their time, too."""
    from assay.generation import evaluate as trials

    problem = discover()["generation"].prepare(table(), resolved(task={"target": "spend"}))
    request = Request(families()["gaussian_copula"], {}, seed=0, path=tmp_path / "t.safetensors", seconds=60.0)
    discover()["generation"].evaluate(Matrices(problem), request)  # stages are ready
    clock = iter([0.0, 0.0, 0.0, 0.0, 0.0, *[61.0] * 1000])
    monkeypatch.setattr(trials.time, "monotonic", lambda: next(clock))
    with pytest.raises(TimedOut, match=r"within 60\.0 s"):
        discover()["generation"].evaluate(Matrices(problem), request)
