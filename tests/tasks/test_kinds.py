"""Kinds of tables beyond one target: several labels, several numbers, quantiles, monotone columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import assay
from assay.data.table import ColumnType, Table, Words
from assay.errors import SpecError
from assay.families import discover as families
from assay.model.deliver import Source
from assay.spec import JobSpec, Resolved, resolve
from assay.tasks import discover
from assay.testing.tasks import facts_of
from assay.training.evaluate import Evaluation, Matrices, Request

N = 160


def toy() -> Table:
    rng = np.random.default_rng(0)
    a, b, town = rng.normal(size=N), rng.normal(size=N), rng.choice(list("xyz"), N)
    columns = {
        "a": a,
        "b": b,
        "town": Words.of(town),
        "hot": Words.of(np.where(a > 0, "yes", "no")),
        "rare": Words.of(np.where(b + rng.normal(size=N) * 0.3 > 0.9, "1", "0")),
        "gap": Words.of([None if i % 7 == 0 else ("in" if t == "x" else "out") for i, t in enumerate(town)]),
        "t1": 3 * a + rng.normal(size=N),
        "t2": 1000 * (b - a),
    }
    kinds = {n: ColumnType.CATEGORY for n in ("town", "hot", "rare", "gap")}
    return Table(columns, {n: kinds.get(n, ColumnType.NUMBER) for n in columns})


def job(task: dict[str, Any], drop: Sequence[str], **parts: Any) -> Resolved:
    task = {"ignore_columns": list(drop), **task}
    spec = {"task": task, "validation": {"folds": 3, "test_fraction": 0.2}, **parts}
    return resolve(JobSpec.from_json(spec), facts_of(toy()))


def built(resolved: Resolved, folder: Path, **configs: dict[str, Any]) -> tuple[Any, list[Evaluation], Any]:
    """(loaded model, evaluations, manifest) of trials of the named families."""
    task = discover()[resolved.task]
    problem = task.prepare(toy(), resolved)
    matrices = Matrices(problem)
    found, sources = [], []
    for i, (name, changes) in enumerate(configs.items()):
        family = families()[name]
        path = folder / f"{i}.ckpt"
        found.append(task.evaluate(matrices, Request(family, {**asdict(family.Config()), **changes}, 0, path)))
        sources.append(Source(i, name, found[-1].score, path))
    made = task.deliver(problem, sources, folder, ensemble=True, info={}, formats={}, seconds=60)
    return assay.load(folder / "model.zip"), found, made.manifest


ROWS = [{"a": 1.5, "b": 2.0, "town": "x"}, {"a": None, "b": -2.0, "town": "never seen"}]


def test_several_labels_are_learned_answered_and_told_apart(tmp_path: Path) -> None:
    labels = ["hot", "rare", "gap"]
    resolved = job({"type": "classification", "targets": labels}, ["t1", "t2"], objective={"metric": "f1_macro"})
    assert resolved.kind == "multilabel" and set(labels).isdisjoint(resolved.features)
    assert "lightgbm" in resolved.families and "hard_sharing" in resolved.families
    model, (trial,), manifest = built(resolved, tmp_path, logistic={})
    assert trial.metrics["hot:roc_auc"] > 0.97 and trial.metrics["hamming_loss"] < 0.1
    assert manifest["kind"] == "multilabel"
    assert {"accuracy", "f1_micro", "rare:f1"} <= manifest["test_metrics"].keys()
    first, second = model.predict(ROWS)
    assert first == {"hot": "yes", "rare": "1", "gap": "in"}
    assert second["gap"] in ("in", "out")
    outputs = {"probabilities", *(f"probabilities_{i}" for i in range(3)), *(f"label_{i}" for i in range(3))}
    assert set(manifest["outputs"]) == outputs


def test_several_numbers_are_learned_each_in_its_unit(tmp_path: Path) -> None:
    resolved = job({"type": "regression", "targets": ["t1", "t2"]}, ["hot", "rare", "gap"])
    assert (resolved.kind, resolved.metric) == ("multioutput", "r2")
    model, (trial, *_), manifest = built(resolved, tmp_path, linear={}, knn={})
    assert trial.score > 0.9
    assert manifest["test_metrics"]["r2"] > 0.85 and "t2:rmse" in manifest["test_metrics"]
    assert model.predict(ROWS)[0]["t2"] == pytest.approx(500, abs=150)


@pytest.mark.parametrize("family", ["linear", "lightgbm", "catboost"])
def test_quantiles_are_in_order_and_cover_what_they_say(family: str, tmp_path: Path) -> None:
    asked = {"metric": "auto", "quantiles": [0.9, 0.1, 0.5]}
    resolved = job({"type": "regression", "target": "t1"}, ["hot", "rare", "gap", "t2"], objective=asked)
    assert (resolved.kind, resolved.metric) == ("quantile", "pinball")
    assert resolved.options["quantiles"] == [0.1, 0.5, 0.9]
    few = {} if family == "linear" else {"n_estimators": 60}
    model, _, manifest = built(resolved, tmp_path, **{family: few})
    assert 0.75 <= manifest["metrics"]["interval_coverage"] <= 0.95
    task, outputs = discover()["regression"], {"quantiles": np.array([[1.0, 2.0, 4.0]])}
    (answer,) = task.answers(outputs, model.manifest)
    assert answer["value"] == 2.0 and answer["interval"] == [1.0, 4.0]
    assert answer["quantiles"] == {"0.1": 1.0, "0.5": 2.0, "0.9": 4.0}
    assert next(iter(task.csv(outputs, model.manifest))) == [
        "prediction",
        "quantile_0.1",
        "quantile_0.5",
        "quantile_0.9",
    ]


@pytest.mark.parametrize("family", ["lightgbm", "catboost"])
def test_an_answer_keeps_to_its_direction(family: str, tmp_path: Path) -> None:
    wish = {"a": "increasing", "b": "decreasing"}
    resolved = job({"type": "regression", "target": "t1", "monotone": wish}, ["hot", "rare", "gap", "t2"])
    assert set(resolved.families) == {"catboost", "lightgbm"}
    model, _, _ = built(resolved, tmp_path, **{family: {"n_estimators": 40, "derived": True}})
    for name, sign in (("a", 1), ("b", -1)):
        rows = [{"a": 0.0, "b": 0.0, "town": "x", name: float(v)} for v in np.linspace(-4, 4, 60)]
        assert (sign * np.diff(np.asarray(model.predict(rows))) >= -1e-6).all()


@pytest.mark.parametrize(
    ("task", "parts", "pointer", "words"),
    [
        ({"type": "classification", "targets": ["hot", "town"]}, {}, "/task/targets/1", "3 distinct values"),
        ({"type": "classification", "targets": ["hot", "hot"]}, {}, "/task/targets/1", "twice"),
        ({"type": "classification", "targets": ["hot"]}, {}, "/task/targets", "task.target"),
        ({"type": "classification", "target": "hot", "targets": ["rare"]}, {}, "/task/target", "all targets"),
        ({"type": "regression", "targets": ["t1", "town"]}, {}, "/task/targets/1", "multitask"),
        ({"type": "regression", "target": "t1"}, {"objective": {"quantiles": [1.5]}}, "/objective/quantiles/0", "1.5"),
        ({"type": "classification", "target": "hot"}, {"objective": {"quantiles": [0.5]}}, "/objective/quantiles", "regr"),
        (
            {"type": "regression", "target": "t1"},
            {"objective": {"metric": "pinball"}, "search": {"families": ["knn"]}},
            "/search/families/0",
            "no quantiles",
        ),
        ({"type": "regression", "target": "t1", "monotone": {"town": "increasing"}}, {}, "/task/monotone/town", "numbers"),
        ({"type": "regression", "target": "t1", "monotone": {"aa": "increasing"}}, {}, "/task/monotone/aa", "closest: 'a'"),
        ({"type": "regression", "target": "t1", "monotone": {"a": "up"}}, {}, "/task/monotone/a", "increasing"),
        ({"type": "classification", "target": "town", "monotone": {"a": "increasing"}}, {}, "/task/monotone", "multiclass"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_place(
    task: dict[str, Any], parts: dict[str, Any], pointer: str, words: str
) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        job(task, [], **parts)
    assert caught.value.pointer == pointer


def test_factors_of_classes_reach_the_graph(tmp_path: Path) -> None:
    """The gate compares the graph's labels with those that the factors choose."""
    rng = np.random.default_rng(3)
    n = 500
    x = rng.normal(size=n)
    words = np.array(["a", "b", "c"])[np.digitize(x + rng.normal(size=n), [1.4, 2.2])]
    table = Table({"x": x, "y": Words.of(words)}, {"x": ColumnType.NUMBER, "y": ColumnType.CATEGORY})
    spec = {"task": {"type": "classification", "target": "y"}, "objective": {"metric": "balanced_accuracy"}}
    resolved = resolve(JobSpec.from_json(spec | {"validation": {"folds": 2, "test_fraction": 0}}), facts_of(table))
    task, family, path = discover()["classification"], families()["logistic"], tmp_path / "c"
    problem = task.prepare(table, resolved)
    trial = task.evaluate(Matrices(problem), Request(family, asdict(family.Config()), 0, path))
    sources = [Source(0, "logistic", trial.score, path)]
    made = task.deliver(problem, sources, tmp_path, ensemble=True, info={}, formats={}, seconds=60)
    assert isinstance(made.manifest["threshold"], list) and made.manifest["threshold"][0] < 1.0
    assert made.manifest["metrics"]["balanced_accuracy"] > trial.metrics["balanced_accuracy"] + 0.02
    answered = assay.load(tmp_path / "model.zip").predict([{"x": float(v)} for v in np.linspace(-2, 3, 40)])
    assert {"b", "c"} <= set(answered)


@pytest.mark.parametrize("family", ["lightgbm", "catboost"])
def test_weighing_classes_leaves_probabilities_true(family: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    n = 800
    x = rng.normal(size=n)
    y = np.where(rng.random(n) < 1 / (1 + np.exp(3.0 - 1.5 * x)), "yes", "no")
    table = Table({"x": x, "y": Words.of(y)}, {"x": ColumnType.NUMBER, "y": ColumnType.CATEGORY})
    spec = {"task": {"type": "classification", "target": "y"}, "validation": {"folds": 2, "test_fraction": 0}}
    task, found, path = discover()["classification"], families()[family], tmp_path / "c"
    problem = task.prepare(table, resolve(JobSpec.from_json(spec), facts_of(table)))
    config = {**asdict(found.Config()), "class_weight": "balanced", "n_estimators": 60}
    trial = task.evaluate(Matrices(problem), Request(found, config, 0, path))
    sources = [Source(0, family, trial.score, path)]
    made = task.deliver(problem, sources, tmp_path, ensemble=True, info={}, formats={}, seconds=60)
    rows = [{"x": float(v)} for v in x]
    told = assay.load(tmp_path / "model.zip").predict_proba(rows)
    assert np.asarray(told)[:, 1].mean() == pytest.approx((y == "yes").mean(), abs=0.05)
    assert made.gate["max_difference"] < 1e-5
