"""A smooth correction of a blend: found where it helps rows that nobody fitted, left out elsewhere, the same in the graph."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from assay.data.table import ColumnType, Table
from assay.families import discover
from assay.metrics import METRICS, log_loss
from assay.model.compose import combine
from assay.model.correct import Correction, features, fit_correction
from assay.model.deliver import Source, deliver
from assay.model.graph import Port, Scope, encode
from assay.model.predict import load
from assay.spec import JobSpec, resolve
from assay.tasks import discover as tasks
from assay.testing.tasks import facts_of
from assay.training.evaluate import Matrices, Request


def rmse(y: np.ndarray, p: np.ndarray) -> float:
    return float(np.sqrt(np.mean((y - p[:, 0]) ** 2)))


def numbers(n: int, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Members that both shrink what is far from the middle; where they differ, the first is right on one side."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=n)
    told = np.tanh(signal)
    members = [told + 0.1 * rng.normal(size=n), told + 0.1 * rng.normal(size=n)]
    y = 1000 + 50 * (signal + 0.1 * rng.normal(size=n))
    return y, [1000 + 50 * m[:, None] for m in members]


def classes(n: int, k: int, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Members that tell likely and very likely classes hardly apart."""
    rng = np.random.default_rng(seed)
    logits = 2.0 * rng.normal(size=(n, k))
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    y = np.array([rng.choice(k, p=p) for p in true])
    members = []
    for _ in range(2):
        bent = 1.5 * np.tanh(logits / 1.5) + 0.3 * rng.normal(size=(n, k))
        members.append(np.exp(bent) / np.exp(bent).sum(1, keepdims=True))
    return y, members


def fitted(y: np.ndarray, members: list[np.ndarray], k: int, metric: str) -> Correction | None:
    base = combine(members, [1.0] * len(members), k)
    return fit_correction(y, members, base, k, METRICS[metric], np.random.default_rng(0))


def test_what_members_shrink_alike_is_undone_on_new_rows() -> None:
    found = fitted(*numbers(3000, 0), 0, "rmse")
    assert found is not None
    y, members = numbers(3000, 1)
    base = combine(members, [0.5, 0.5], 0)
    assert rmse(y, found.apply(base, members, 0)) < 0.8 * rmse(y, base)


@pytest.mark.parametrize("k", [2, 4])
def test_classes_are_told_better_on_new_rows(k: int) -> None:
    found = fitted(*classes(3000, k, 0), k, "log_loss")
    assert found is not None
    y, members = classes(3000, k, 1)
    base = combine(members, [0.5, 0.5], k)
    corrected = found.apply(base, members, k)
    np.testing.assert_allclose(corrected.sum(1), 1.0)
    assert log_loss(y, corrected) < 0.992 * log_loss(y, base)


def test_nothing_is_corrected_by_chance_alone() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        signal = rng.normal(size=3000)
        members = [(signal + 0.1 * rng.normal(size=3000))[:, None] for _ in range(2)]
        y = 0.5 * (members[0] + members[1])[:, 0] + rng.normal(size=3000)
        assert fitted(y, members, 0, "rmse") is None
    y, members = numbers(1000, 0)
    assert fitted(y, members, 0, "rmse") is None, "few rows"
    y, members = numbers(3000, 0)
    y, members = classes(2500, 26, 0)
    assert features(members * 2, 26).shape[1] > 100 and fitted(y, members * 2, 26, "log_loss") is None


def test_out_of_time_and_against_the_metric_there_is_none() -> None:
    y, members = numbers(3000, 0)
    base = combine(members, [0.5, 0.5], 0)
    rng = np.random.default_rng(0)
    assert fit_correction(y, members, base, 0, METRICS["rmse"], rng, in_time=lambda: False) is None
    # the blend is the conditional median here: squared error asks for the mean, absolute error does not
    skewed = 1000 + np.random.default_rng(3).exponential(size=3000) ** 2
    flat = [np.full((3000, 1), float(np.median(skewed))) + 1e-3 * rng.normal(size=(3000, 1)) for _ in range(2)]
    base = combine(flat, [0.5, 0.5], 0)
    assert fit_correction(skewed, flat, base, 0, METRICS["mae"], rng) is None


def test_rows_that_weigh_nothing_teach_nothing() -> None:
    y, members = numbers(4000, 0)
    weight = np.ones(4000)
    weight[2500:] = 0.0
    y = np.where(weight > 0, y, 1e4)
    base = combine(members, [0.5, 0.5], 0)
    found = fit_correction(y, members, base, 0, METRICS["rmse"], np.random.default_rng(0), weight)
    assert found is not None
    fresh, told = numbers(3000, 1)
    base = combine(told, [0.5, 0.5], 0)
    assert rmse(fresh, found.apply(base, told, 0)) < 0.85 * rmse(fresh, base)


@pytest.mark.parametrize("k", [0, 2, 4])
def test_the_graph_answers_alike_and_far_away_too(k: int) -> None:
    y, members = classes(3000, k, 0) if k else numbers(3000, 0)
    found = fitted(y, members, k, "log_loss" if k else "rmse")
    assert found is not None
    scope = Scope()
    base = combine(members, [0.5, 0.5], k)
    far = [np.full_like(m[:1], 1e30 if not k else 0.0) for m in members]
    rows = [np.concatenate([m, f]).astype(np.float32) for m, f in zip(members, far, strict=True)]
    bases = np.concatenate([base, far[0]]).astype(np.float32)
    out = scope.add("Identity", found.add_to(scope, "base", ["a", "b"], k))
    width = max(k, 1)
    ports = [Port(n, "float32", ["N", width]) for n in ("base", "a", "b")]
    graph = scope.graph(out).renamed({out: "out"})
    session = onnxruntime.InferenceSession(encode(graph, ports, [Port("out", "float32", ["N", width])]))
    (answer,) = session.run(None, dict(zip(("base", "a", "b"), (bases, *rows), strict=True)))
    expected = found.apply(bases.astype(np.float64), [r.astype(np.float64) for r in rows], k)
    scale = 1.0 if k else float(np.std(y))
    np.testing.assert_allclose(answer[:-1] / scale, expected[:-1] / scale, atol=1e-5)
    assert np.isfinite(answer).all()


def test_a_delivered_model_is_corrected_and_still_answers_like_its_file(tmp_path: Path) -> None:
    """Two families that cannot bend as the target does leave something to correct."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3200, 3))
    y = np.exp(1.2 * x[:, 0] + 0.6 * x[:, 1]) + 0.1 * rng.normal(size=3200)
    table = Table(
        {**{f"x{i}": x[:, i] for i in range(3)}, "y": y}, dict.fromkeys(("x0", "x1", "x2", "y"), ColumnType.NUMBER)
    )
    spec = {"task": {"type": "regression", "target": "y"}, "search": {"families": ["linear", "decision_tree"]}}
    monotone = {
        **spec,
        "task": {**spec["task"], "monotone": {"x0": "increasing"}},
        "search": {"families": ["lightgbm"]},
    }
    for asked, corrected in ((spec, True), (monotone, False)):
        resolved = resolve(JobSpec.from_json({**asked, "validation": {"folds": 3}}), facts_of(table))
        matrices = Matrices(tasks()["regression"].prepare(table, resolved))
        sources = []
        for number, name in enumerate(resolved.families * (1 if corrected else 2)):
            path = tmp_path / f"{corrected}{number}.safetensors"
            found = tasks()["regression"].evaluate(matrices, Request(discover()[name], {}, seed=number, path=path))
            sources.append(Source(number, name, found.score, path))
        made = deliver(matrices.problem, sources, tmp_path, ensemble=True, info={"name": "m"}, formats={}, seconds=60)
        assert made.manifest["info"]["corrected"] is corrected
        assert made.gate["max_difference"] < 1e-5
        if corrected:
            model = load(tmp_path / made.bundle)
            alone = min(-s.score for s in sources)
            assert rmse(y, model.run(matrices.problem.features, ["value"])["value"]) < 0.95 * alone
