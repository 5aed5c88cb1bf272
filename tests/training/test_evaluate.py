"""One trial: what its folds say, and what the fit on all rows adds to the answer but not to the figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from assay.data.table import ColumnType, Table
from assay.families import discover
from assay.model import checkpoint
from assay.spec import JobSpec, resolve, with_parts
from assay.tasks import discover as tasks
from assay.testing.tasks import facts_of
from assay.training.evaluate import Matrices, Request

FAST = {"lightgbm": {"learning_rate": 0.1}, "linear": {}, "mlp": {"epochs": 10}}


def waves(n: int = 300) -> Table:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3))
    y = np.sin(2 * x[:, 0]) + x[:, 1] + 0.3 * rng.normal(size=n)
    columns = {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": y}
    return Table(columns, dict.fromkeys(columns, ColumnType.NUMBER))


def trained(family: str, folder: Path, *, refit: bool, parts: tuple[int, int] | None = None) -> checkpoint.Checkpoint:
    table = waves()
    spec = JobSpec.from_json({"task": {"type": "regression", "target": "y"}, "validation": {"folds": 3}})
    resolved = replace(resolve(spec, facts_of(table)), refit=refit)
    if parts is not None:
        resolved = with_parts(resolved, parts[0], None, parts[1])
    task = tasks()["regression"]
    request = Request(discover()[family], FAST[family], seed=5, path=folder / f"{family}{refit}.safetensors")
    task.evaluate(Matrices(task.prepare(table, resolved)), request)
    return checkpoint.load(request.path)


@pytest.mark.parametrize("family", FAST)
def test_the_fit_on_all_rows_answers_but_is_not_measured(family: str, tmp_path: Path) -> None:
    without, with_all = (trained(family, tmp_path, refit=refit) for refit in (False, True))
    np.testing.assert_allclose(with_all.array("oof"), without.array("oof"), atol=1e-5)
    np.testing.assert_allclose(with_all.array("test"), without.array("test"), atol=1e-5)
    assert np.abs(with_all.array("gate") - without.array("gate")).max() > 1e-3


def test_rows_that_the_user_set_apart_are_never_trained_on(tmp_path: Path) -> None:
    without, with_all = (trained("linear", tmp_path, refit=refit, parts=(250, 50)) for refit in (False, True))
    np.testing.assert_array_equal(with_all.array("gate"), without.array("gate"))
