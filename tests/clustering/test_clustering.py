"""Clusterings: assigners and their graphs, evidence, and a whole search without a service."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping

import numpy as np
import pytest

import assay
from assay.clustering.agreement import BELIEF
from assay.clustering.assign import Components, Nearest, by_size
from assay.clustering.deliver import replay
from assay.clustering.evidence import Evidence, vector
from assay.clustering.family import Scan
from assay.clustering.judge import Judge
from assay.clustering.quality import estimate, odds
from assay.clustering.space import Place, comparable
from assay.data.table import ColumnType, Table
from assay.errors import DataError, SpecError
from assay.families import Target, for_task
from assay.search.strategies._portfolio import starts
from assay.search.strategies._portfolio import table as portfolio
from assay.space import Space
from assay.spec import JobSpec, resolve
from assay.testing.context import ToyContext
from assay.testing.families import run_graph
from assay.testing.tasks import facts_of
from assay.testing.toy_clustering import toy_blobs, toy_moons


def body(table: Table, y: np.ndarray) -> Table:
    return Table({**table.columns, "group": y.astype(np.float64)}, {**table.types, "group": ColumnType.INTEGER})


def test_clusters_are_numbered_by_size_and_noise_stays() -> None:
    assert by_size(np.array([5, 5, -1, 2, 2, 2, 7])).tolist() == [1, 1, -1, 0, 0, 0, 2]


@pytest.mark.parametrize("radius", [float("inf"), 0.4])
def test_the_graph_of_nearest_points_answers_like_the_points(radius: float) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(30, 3)).astype(np.float32)
    nearest = Nearest(points, rng.integers(-1, 4, 30), radius)
    x = np.concatenate([points, rng.normal(size=(50, 3)).astype(np.float32)])
    np.testing.assert_allclose(run_graph(nearest.to_onnx("x"), x), nearest.predict(x), atol=1e-5)
    assert (nearest.predict(points)[:, 0] == nearest.codes).all(), "rows of the sample keep their cluster"


def test_the_graph_of_components_answers_like_the_mixture() -> None:
    rng = np.random.default_rng(0)
    whiten = np.stack([np.eye(2) * s for s in (1.0, 2.0)])
    mixture = Components(np.log([0.5, 2.0]), np.array([[0.0, 0.0], [3.0, 1.0]]), whiten)
    x = rng.normal(size=(60, 2)).astype(np.float32) * 3
    np.testing.assert_allclose(run_graph(mixture.to_onnx("x"), x), mixture.predict(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("told", [estimate, odds])
def test_the_estimate_prefers_moons_to_halves(told: Callable[[Mapping[str, float]], float]) -> None:
    table, y = toy_moons()
    x = np.column_stack([table.numbers("a"), table.numbers("b")])
    evidence = Evidence(x)
    halves = (x[:, 0] > np.median(x[:, 0])).astype(np.int64)
    assert told(evidence.of(y)) > told(evidence.of(halves))
    assert np.isfinite(vector(evidence.of(np.where(np.arange(len(y)) % 9 == 0, -1, y)))).all()


def blobs(k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """k round clusters of 60 rows, 6 deviations apart on a grid."""
    y = np.repeat(np.arange(k), 60)
    centre = np.column_stack([np.arange(k) % 3, np.arange(k) // 3]) * 6.0
    return centre[y] + np.random.default_rng(seed).normal(size=(60 * k, 2)), y


@pytest.mark.parametrize("told", [estimate, odds])
@pytest.mark.parametrize("k", [2, 3, 5, 8])
def test_the_estimate_knows_how_many_round_clusters_there_are(
    told: Callable[[Mapping[str, float]], float], k: int
) -> None:
    x, y = blobs(k)
    evidence = Evidence(x)
    truth = told(evidence.of(y))
    halved = np.where((y == 0) & (x[:, 0] > np.median(x[y == 0, 0])), k, y)
    assert truth > told(evidence.of(halved)), "a cluster cut in two"
    if k > 2:
        assert truth > told(evidence.of(np.where(y == k - 1, 0, y))), "two clusters in one"


def test_a_scan_keeps_the_preferred_candidate_and_reports_its_score() -> None:
    x, y = blobs(3)
    x = x.astype(np.float32)
    judge = Judge.of(x)
    sides = y, (x[:, 0] > np.median(x[:, 0])).astype(np.int64)
    scan = Scan(judge, x, ToyContext(), 4)
    candidates = [Nearest(x, codes) for codes in sides]
    told = [scan.offer(c) for c in candidates]
    lead = estimate(judge.evidence.of(y)) - estimate(judge.evidence.of(sides[1]))
    more = odds(judge.evidence.of(y)) - odds(judge.evidence.of(sides[1]))
    assert told[0] - told[1] == pytest.approx(lead + BELIEF * more)
    assert scan.best is candidates[0]
    assert scan.best_score == judge.score(y)


def test_a_metric_asked_for_by_name_alone_decides_what_is_preferred() -> None:
    x, y = blobs(3)
    judge = Judge.of(x, metric="silhouette")
    assert judge.preference(y) == judge.score(y)
    assert judge.preference(np.zeros(len(y), np.int64)) == -np.inf


def test_rows_called_noise_that_are_none_cost() -> None:
    x, y = blobs(3)
    centre = np.stack([x[y == c].mean(0) for c in range(3)])
    far = np.linalg.norm(x - centre[y], axis=1)
    evidence = Evidence(x)
    assert estimate(evidence.of(np.where(far > np.quantile(far, 0.95), -1, y))) < estimate(evidence.of(y))


def test_a_few_rows_between_moons_are_not_left_out() -> None:
    table, y = toy_moons()
    evidence = Evidence(np.column_stack([table.numbers("a"), table.numbers("b")]))
    for rows in (1, 3):
        few = y.copy()
        few[np.argsort(-evidence.core)[:rows]] = -1
        assert estimate(evidence.of(few)) < estimate(evidence.of(y))


def test_reach_is_the_same_across_a_cluster_from_any_of_its_rows() -> None:
    x, y = blobs(3)
    reach = Evidence(x).reach
    for c in range(3):
        own = np.flatnonzero(y == c)
        np.testing.assert_allclose(reach[np.ix_(own, own)].max(1), reach[own[0], own].max(), rtol=1e-6)


def test_many_columns_of_one_kind_are_comparable_though_some_hardly_vary() -> None:
    def made(deviations: list[float]) -> Table:
        rng = np.random.default_rng(0)
        names = [f"p{i}" for i in range(len(deviations))]
        columns = {n: rng.normal(size=50) * d for n, d in zip(names, deviations, strict=True)}
        return Table(columns, dict.fromkeys(names, ColumnType.NUMBER))

    assert comparable(made([1.0] * 16 + [0.01] * 4))
    assert not comparable(made([1.0, 1.0, 0.01]))
    assert not comparable(made([1.0] * 8 + [0.01] * 12))


def test_every_start_of_the_portfolio_fits_a_family() -> None:
    families = for_task("clustering")
    spaces = {name: Space.of(family.Config) for name, family in families.items()}
    assert len(starts(spaces, 100, 2)) == sum(entry.family in spaces for entry in portfolio())
    assert {p.family for p in starts(spaces, 100, 2)} == set(families)


def test_mixed_tables_have_a_space_and_only_like_numbers_keep_their_scale() -> None:
    mixed, moons = toy_blobs()[0], toy_moons()[0]
    placed, x = Place("robust", 2, 0.5).fit(mixed, np.zeros(len(mixed)), Target("clusters"), 0)
    assert x.shape == (len(mixed), 2) and np.isfinite(x).all()
    np.testing.assert_allclose(placed.transform(mixed.take(np.arange(5))), x[:5], atol=1e-6)
    assert comparable(moons) and not comparable(mixed)


def test_a_truth_is_hidden_from_the_search_and_told_in_the_end() -> None:
    table, y = toy_blobs(120)
    spec = {"task": {"type": "clustering", "target": "group"}, "objective": {"metric": "adjusted_rand"}}
    with pytest.raises(SpecError, match="may not choose"):
        resolve(JobSpec.from_json(spec), facts_of(body(table, y)))
    told = assay.fit(body(table, y), "group", task="clustering", trials=1, families=["kmeans"], seconds=600)
    blind = assay.fit(table, task="clustering", trials=1, families=["kmeans"], seconds=600)
    assert "group" not in told.manifest.columns
    assert told.metrics["adjusted_rand"] > 0.9 and "adjusted_rand" not in blind.metrics
    assert told.predict(table) == blind.predict(table), "the truth changed the clusters"
    assert told.metrics["clustering_quality"] == blind.metrics["clustering_quality"]


def test_noise_is_answered_and_a_fresh_row_far_off_is_noise() -> None:
    table, _ = toy_moons()
    model = assay.fit(table, task="clustering", trials=1, families=["dbscan"], seconds=600)
    (found,), _ = model.answer([{"a": 50.0, "b": -50.0}])
    assert found["value"] == -1 and found["distance"] > 10
    with pytest.raises(DataError, match="clustering"):
        from assay.model.explain import explain

        explain(model, table)


def test_a_graph_that_answers_otherwise_is_refused() -> None:
    table, _ = toy_moons()
    model = assay.fit(table, task="clustering", trials=1, families=["kmeans"], seconds=600)
    outputs = model.run(table)
    expected = np.column_stack([outputs["label"], outputs["distance"][:, 0]]).astype(np.float64)
    feeds = {n: table.numbers(n)[:, None].astype(np.float32) for n in table.names}
    names, sure = model.manifest.outputs, np.ones(len(table))
    assert not replay(model.onnx, names, feeds, expected, sure).message
    assert "another cluster" in replay(model.onnx, names, feeds, np.roll(expected + [[1, 0]], 0, 0), sure).message


def test_columns_and_fields_that_mean_nothing_are_refused_by_name() -> None:
    table, y = toy_blobs(60)
    for task, pointer in (
        ({"horizon": 3}, "/task/horizon"),
        ({"ignore_columns": ["a", "b", "colour", "group"]}, "/task/ignore_columns"),
    ):
        with pytest.raises(SpecError) as caught:
            resolve(JobSpec.from_json({"task": {"type": "clustering", **task}}), facts_of(body(table, y)))
        assert caught.value.pointer == pointer


def test_answers_as_csv() -> None:
    from assay.model.predict import csv_lines

    table, _ = toy_moons()
    model = assay.fit(table, task="clustering", trials=1, families=["kmeans"], seconds=600)
    out = io.StringIO()
    csv.writer(out).writerows(csv_lines(model.run(table), model.manifest))
    lines = out.getvalue().splitlines()
    assert lines[0] == "prediction,distance" and len(lines) == len(table) + 1


def test_few_different_rows_among_many_equal_ones_are_judged() -> None:
    x = np.repeat(np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]]), 20, axis=0)
    assert np.isfinite(estimate(Evidence(x).of(np.repeat([0, 0, 1], 20))))
