"""The task of several targets: what is asked is checked, kinds are decided by type and cardinality, folds are fair."""

from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import assay
from assay.data.table import ColumnType, Table, Words
from assay.errors import DataError, SpecError
from assay.multitask.targets import Truth
from assay.spec import JobSpec, Resolved, Validation, resolve
from assay.tasks.multitask import task
from assay.testing.tasks import facts_of
from assay.testing.toy_multitask import toy_targets, with_targets

TARGETS = ["bought", "size", "amount"]


@pytest.fixture(scope="module")
def table() -> Table:
    return with_targets(*toy_targets(150))


def resolved(table: Table, targets: Any = TARGETS, **task_options: Any) -> Resolved:
    spec = {"task": {"type": "multitask", "targets": targets, **task_options}, "search": {"families": ["independent"]}}
    return resolve(JobSpec.from_json(spec), facts_of(table))


def test_kinds_are_decided_by_type_and_cardinality_and_told(table: Table) -> None:
    found = resolved(table)
    assert found.options["targets"] == [
        {"name": "bought", "kind": "binary"},
        {"name": "size", "kind": "multiclass"},
        {"name": "amount", "kind": "regression"},
    ]
    assert not set(TARGETS) & set(found.features)
    assert Resolved.from_json(found.to_json()).options == found.options
    assert any("'amount' is regression" in why for why in found.because)


@pytest.mark.parametrize(
    ("options", "pointer", "told"),
    [
        ({"targets": None}, "/task/targets", "needs task.targets"),
        ({"targets": ["bought"]}, "/task/targets", "two or more"),
        ({"targets": ["bought", "bought"]}, "/task/targets/1", "twice"),
        ({"targets": ["bought", "siz"]}, "/task/targets/1", "closest: 'size'"),
        ({"target": "bought"}, "/task/target", "task.targets"),
        ({"positive_class": "yes"}, "/task/positive_class", "no use"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_place(
    table: Table, options: dict[str, Any], pointer: str, told: str
) -> None:
    with pytest.raises(SpecError, match=told) as caught:
        resolved(table, **options)
    assert caught.value.pointer == pointer


def test_rows_with_any_label_are_kept_and_every_fold_has_labels_of_every_target(table: Table) -> None:
    blank = dict(table.columns)
    for name in TARGETS:
        column = blank[name]
        if isinstance(column, Words):
            blank[name] = Words(np.where(np.arange(150) < 7, -1, column.codes).astype(np.int32), column.levels)
        else:
            blank[name] = np.where(np.arange(150) < 7, np.nan, np.asarray(column))
    holes = Table(blank, table.types)
    problem = task.prepare(holes, resolved(holes))
    assert isinstance(problem.y, Truth) and len(problem.y) == 143 and problem.left_out == 7
    assert np.isnan(np.asarray(problem.y)).any() and not np.isnan(np.asarray(problem.y)).all(1).any()
    for train, valid in problem.folds.pairs:
        assert not set(train) & set(valid)
        for i in range(3):
            assert len(np.unique(problem.y[train].column(i)[1])) > 1


def test_a_target_that_no_fold_can_learn_is_named(table: Table) -> None:
    rare = Words.of(["b" if i == 0 else "a" for i in range(150)])
    odd = Table({**table.columns, "odd": rare}, {**table.types, "odd": ColumnType.CATEGORY})
    with pytest.raises(DataError, match="'odd'"):
        task.prepare(odd, resolved(odd, [*TARGETS, "odd"]))


def test_one_graph_answers_all_targets_here_and_from_the_bundle_alone(table: Table, tmp_path: Path) -> None:
    model = assay.fit(
        table, task="multitask", targets=TARGETS, families=["independent"], trials=2, seconds=300,
        validation=Validation(folds=2),
    )  # fmt: skip
    assert model.metrics["multitask_score"] > 0.05
    assert {
        "bought:roc_auc",
        "size:log_loss",
        "amount:rmse",
    } <= model.metrics.keys() & model.manifest.test_metrics.keys()
    assert list(model.manifest.outputs) == ["label_0", "probabilities_0", "label_1", "probabilities_1", "value_2"]
    rows = [{n: v for n, v in zip("abcd", (1.5, 0.2, 0.1, 30.0), strict=True)}, {"a": -2.0}]
    full = [{**dict.fromkeys(model.manifest.columns), **row} for row in rows]
    answers, _ = model.answer(full)
    for answer in answers:
        assert answer["value"].keys() == set(TARGETS)
        assert answer["probabilities"].keys() == {"bought", "size"}
        assert sum(answer["probabilities"]["size"].values()) == pytest.approx(1.0, abs=1e-5)
        assert 800 < answer["value"]["amount"] < 1200
    assert answers[0]["value"]["amount"] > answers[1]["value"]["amount"]
    with pytest.raises(DataError, match="several targets"):
        model.numbers(model.read(full)[0])

    with zipfile.ZipFile(model.save(tmp_path / "model.zip")) as archive:
        archive.extractall(tmp_path / "model")
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, model.manifest.columns)
        writer.writeheader()
        writer.writerows(full)
    command = [sys.executable, str(tmp_path / "model" / "predict.py"), str(tmp_path / "rows.csv")]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    found = list(csv.DictReader(out.stdout.splitlines()))
    assert [r["prediction_size"] for r in found] == [a["value"]["size"] for a in answers]
    for row, answer in zip(found, answers, strict=True):
        assert float(row["prediction_amount"]) == pytest.approx(answer["value"]["amount"], rel=1e-6)
        assert float(row["probability_bought_yes"]) == pytest.approx(answer["probabilities"]["bought"]["yes"], abs=1e-6)
