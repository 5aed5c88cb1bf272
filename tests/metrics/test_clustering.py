"""Metrics of partitions against scikit-learn and on shapes where they must differ."""

from __future__ import annotations

import numpy as np
import pytest

from assay.metrics import METRICS
from assay.testing.toy_clustering import toy_moons


def test_dbcv_prefers_moons_to_halves_and_silhouette_does_not() -> None:
    table, y = toy_moons()
    x = np.column_stack([table.numbers("a"), table.numbers("b")])
    halves = (x[:, 0] > np.median(x[:, 0])).astype(np.int64)
    assert METRICS["dbcv"].value(x, y) > METRICS["dbcv"].value(x, halves)
    assert METRICS["silhouette"].value(x, y) < METRICS["silhouette"].value(x, halves)


def test_noise_is_left_out_of_compactness_and_counts_for_nothing_in_density() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(40, 2)), rng.normal(size=(40, 2)) + 9, rng.uniform(-20, 20, (20, 2))])
    y = np.repeat([0, 1, -1], [40, 40, 20])
    for name in ("silhouette", "calinski_harabasz", "davies_bouldin"):
        assert METRICS[name].value(x, y) == pytest.approx(METRICS[name].value(x[:80], y[:80]))
    assert METRICS["dbcv"].value(x, y) == pytest.approx(0.8 * METRICS["dbcv"].value(x[:80], y[:80]))


def test_one_cluster_has_no_value() -> None:
    x = np.random.default_rng(0).normal(size=(20, 2))
    for name in ("silhouette", "dbcv", "davies_bouldin", "calinski_harabasz", "clustering_quality"):
        assert np.isnan(METRICS[name].value(x, np.zeros(20, np.int64)))


def test_truth_metrics_do_not_mind_names() -> None:
    y = np.array([0, 0, 1, 1, 2, 2])
    for name in ("adjusted_rand", "normalized_mutual_info"):
        assert METRICS[name].value(y, np.array([2, 2, 0, 0, 1, 1])) == pytest.approx(1.0)


def test_clusters_of_equal_rows_have_a_validity() -> None:
    x = np.repeat([[1.0, 0.0], [2.0, 5.0]], 30, axis=0)
    assert METRICS["dbcv"].value(x, np.repeat([0, 1], 30)) == pytest.approx(1.0)
