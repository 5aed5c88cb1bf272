"""From trials to a model: limits kept, thresholds answered, and what is told of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import assay
from assay.data.table import ColumnType, Table, Words
from assay.families import discover
from assay.model import deliver as delivering
from assay.model.deliver import Source, deliver
from assay.model.predict import load
from assay.spec import JobSpec, resolve
from assay.tasks import discover as tasks
from assay.testing.tasks import facts_of
from assay.training.evaluate import Matrices, Request


def churn(n: int = 900) -> Table:
    """Two classes, one row in eight of the second."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4))
    yes = rng.random(n) < 1 / (1 + np.exp(3.2 - 1.3 * x[:, 0] - np.sin(2 * x[:, 1])))
    columns: dict[str, Any] = {f"x{i}": x[:, i] for i in range(4)}
    columns["churn"] = Words.of(["yes" if v else "no" for v in yes])
    return Table(columns, dict.fromkeys(columns, ColumnType.NUMBER) | {"churn": ColumnType.CATEGORY})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Matrices, list[Source]]:
    folder = tmp_path_factory.mktemp("trials")
    table = churn()
    spec = JobSpec.from_json(
        {
            "task": {"type": "classification", "target": "churn"},
            "objective": {"metric": "f1"},
            "search": {"families": ["logistic", "decision_tree", "random_forest"]},
            "validation": {"folds": 3},
        }
    )
    resolved = resolve(spec, facts_of(table))
    task = tasks()["classification"]
    matrices = Matrices(task.prepare(table, resolved))
    sources = []
    for number, name in enumerate(resolved.families):
        path = folder / f"{number}.safetensors"
        found = task.evaluate(matrices, Request(discover()[name], {}, seed=number, path=path))
        sources.append(Source(number, name, found.score, path))
    return matrices, sources


def built(trained: tuple[Matrices, list[Source]], folder: Path, **limits: float) -> assay.Model:
    matrices, sources = trained
    info = {"name": "churn", "limits": limits}
    made = deliver(matrices.problem, sources, folder, ensemble=True, info=info, formats={}, seconds=60)
    return load(folder / made.bundle)


def test_a_metric_of_labels_gets_its_threshold_in_graph_and_metrics(
    trained: tuple[Matrices, list[Source]], tmp_path: Path
) -> None:
    model = built(trained, tmp_path)
    threshold = model.manifest.threshold
    assert threshold is not None and threshold < 0.5
    table = trained[0].problem.features
    p = model.predict_proba(table)
    assert model.predict(table) == [model.classes[int(v >= threshold)] for v in p[:, 1]]
    labels = model.run(table, ["label"])["label"]
    assert labels.tolist() == model.predict(table)
    assert model.metrics["f1"] > 0.3


def test_a_size_limit_is_kept_by_giving_up_members(trained: tuple[Matrices, list[Source]], tmp_path: Path) -> None:
    free = built(trained, tmp_path)
    assert "random_forest" in {m.family for m in free.manifest.members}
    limit = len(free.onnx) / 2e6
    small = built(trained, tmp_path, model_mb=limit)
    assert len(small.onnx) <= limit * 1e6
    assert "limits_missed" not in small.manifest.info
    assert "random_forest" not in {m.family for m in small.manifest.members}


def test_with_little_time_the_model_is_light(
    trained: tuple[Matrices, list[Source]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrices, sources = trained
    sizes = {s.family: s.path.stat().st_size for s in sources}
    monkeypatch.setattr(delivering, "LEAST_BYTES", max(sizes["logistic"], sizes["decision_tree"]) + 1)
    assert sizes["random_forest"] > 2 * delivering.LEAST_BYTES
    made = deliver(matrices.problem, sources, tmp_path, ensemble=True, info={"name": "c"}, formats={}, seconds=1e-4)
    families = [m["family"] for m in made.manifest["members"]]
    assert families and "random_forest" not in families


def test_a_busy_machine_is_noticed() -> None:
    assert delivering._slowed(wall=0.01, cpu=0.001) == 1.0  # too short to tell
    assert delivering._slowed(wall=2.0, cpu=0.5) == 4.0
    assert delivering._slowed(wall=1.0, cpu=3.0) == 1.0
    assert delivering._slowed(wall=9.0, cpu=0.0) == delivering.MOST_SLOWED


def test_without_a_time_limit_a_fit_is_as_long_as_it_needs_to_be(tmp_path: Path) -> None:
    table = churn(300)
    spec = {"task": {"type": "classification", "target": "churn"}, "search": {"families": ["lightgbm"]}}
    task = tasks()["classification"]
    matrices = Matrices(task.prepare(table, resolve(JobSpec.from_json(spec), facts_of(table))))
    free, timed = (
        task.evaluate(matrices, Request(discover()["lightgbm"], {}, seed=0, path=tmp_path / "trial", seconds=seconds))
        for seconds in (float("inf"), 600.0)
    )
    assert free.fold_scores == timed.fold_scores


@pytest.mark.parametrize("family", ["logistic", "lightgbm", "catboost", "random_forest", "knn", "mlp"])
def test_no_test_part_is_no_obstacle(family: str, tmp_path: Path) -> None:
    table = churn(120)
    spec = {
        "task": {"type": "classification", "target": "churn"},
        "validation": {"folds": 2, "test_fraction": 0.0},
        "search": {"families": [family]},
    }
    task, resolved = tasks()["classification"], resolve(JobSpec.from_json(spec), facts_of(table))
    matrices = Matrices(task.prepare(table, resolved))
    config = {"epochs": 10} if family == "mlp" else {}
    found = task.evaluate(matrices, Request(discover()[family], config, seed=0, path=tmp_path / "trial"))
    model = built((matrices, [Source(0, family, found.score, tmp_path / "trial")]), tmp_path)
    assert model.manifest.test_metrics == {}


def test_limits_that_nothing_keeps_give_the_nearest_model_and_say_so(
    trained: tuple[Matrices, list[Source]], tmp_path: Path
) -> None:
    model = built(trained, tmp_path, model_mb=1e-6)
    assert len(model.manifest.members) == 1
    assert "model_mb 1e-06" in model.manifest.info["limits_missed"]
