"""From a request to a complete plan: what is decided, what is refused, and what the refusal says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from assay.errors import SpecError
from assay.families import spaces_of
from assay.space import Choice
from assay.spec import JobSpec, Resolved, limits_of, resolve


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    distinct: int
    missing: int = 0


@dataclass(frozen=True)
class Profile:
    n_rows: int
    columns: tuple[Column, ...]


PROFILE = Profile(
    1000,
    (
        Column("age", "integer", 60),
        Column("town", "category", 12),
        Column("customer", "id", 1000),
        Column("country", "constant", 1),
        Column("visit", "datetime", 400),
        Column("weight", "number", 500),
        Column("bought", "boolean", 2, missing=7),
        Column("grade", "category", 4),
        Column("price", "number", 873),
    ),
)


def spec(type: str = "classification", target: str | None = "bought", **parts: Any) -> JobSpec:
    task = {"type": type, "target": target, **parts.pop("task", {})}
    return JobSpec.from_json({"task": task, **parts})


def test_every_auto_is_decided_and_the_reasons_are_told() -> None:
    resolved = resolve(spec(), PROFILE)
    assert (resolved.kind, resolved.metric, resolved.method) == ("binary", "roc_auc", "cv")
    assert resolved.n_rows == 993
    assert resolved.families[0] in ("logistic", "decision_tree", "knn")  # cheap ones first
    assert len(resolved.because) >= 3


def test_ids_constants_and_the_target_are_no_features() -> None:
    resolved = resolve(spec(task={"ignore_columns": ["grade"]}), PROFILE)
    assert set(resolved.features) == {"age", "town", "visit", "weight", "price"}
    assert {c for c, _ in resolved.left_out} == {"customer", "country", "grade"}


def test_roles_take_a_column_out_of_the_features() -> None:
    resolved = resolve(spec(task={"weight_column": "weight", "time_column": "visit"}), PROFILE)
    assert "weight" not in resolved.features
    assert "visit" not in resolved.features
    assert resolved.method == "time"


def test_regression_takes_numbers() -> None:
    resolved = resolve(spec("regression", "price"), PROFILE)
    assert (resolved.kind, resolved.metric) == ("regression", "rmse")
    assert "linear" in resolved.families
    assert "logistic" not in resolved.families


def test_a_plan_survives_json() -> None:
    resolved = resolve(spec(), PROFILE)
    assert Resolved.from_json(resolved.to_json()) == resolved


@pytest.mark.parametrize(
    ("request_", "pointer", "code", "says"),
    [
        ({"task": {"type": "classification", "target": "bougth"}}, "/task/target", "target_not_found", "closest: 'bought'"),
        ({"task": {"type": "classification"}}, "/task/target", "validation_error", "needs task.target"),
        ({"task": {"type": "clasification", "target": "bought"}}, "/task/type", "validation_error", "known: "),
        ({"task": {"type": "classification", "target": "country"}}, "/task/target", "single_class_target", "at least two"),
        ({"task": {"type": "regression", "target": "town"}}, "/task/target", "validation_error", "needs numbers"),
        ({"task": {"type": "classification", "target": "bought", "tarjet": 1}}, "/task/tarjet", "validation_error", "'target'"),
        ({"task": {"type": "classification", "target": "bought", "ignore_columns": ["agee"]}}, "/task/ignore_columns/0", "validation_error", "'age'"),
        ({"task": {"type": "classification", "target": "bought"}, "objective": {"metric": "rmse"}}, "/objective/metric", "validation_error", "known: roc_auc"),
        ({"task": {"type": "classification", "target": "bought"}, "search": {"families": ["catbost"]}}, "/search/families/0", "validation_error", "'catboost'"),
        ({"task": {"type": "classification", "target": "bought"}, "search": {"families": []}}, "/search/families", "validation_error", "empty"),
        ({"task": {"type": "classification", "target": "bought"}, "search": {"strategy": "bayes"}}, "/search/strategy", "validation_error", "bayesian"),
        ({"task": {"type": "classification", "target": "bought"}, "limits": {"time_seconds": -1}}, "/limits/time_seconds", "validation_error", "positive"),
        ({"task": {"type": "classification", "target": "bought"}, "limits": {"time_seconds": None}}, "/limits", "validation_error", "an end"),
        ({"task": {"type": "classification", "target": "bought"}, "validation": {"folds": 1}}, "/validation/folds", "validation_error", "between 2"),
        ({"task": {"type": "classification", "target": "bought"}, "validation": {"method": "group"}}, "/task/group_column", "validation_error", "needs task.group_column"),
        ({"task": {"type": "classification", "target": "bought"}, "device": "tpu"}, "/device", "validation_error", "known: auto"),
        ({"task": {"type": "classification", "target": "grade", "positive_class": "a"}}, "/task/positive_class", "validation_error", "two classes"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_place_and_the_way_out(
    request_: dict[str, Any], pointer: str, code: str, says: str
) -> None:
    with pytest.raises(SpecError) as caught:
        resolve(JobSpec.from_json(request_), PROFILE)
    assert (caught.value.pointer, caught.value.code) == (pointer, code)
    assert says in str(caught.value)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(SpecError) as caught:
        resolve(spec(), Profile(12, PROFILE.columns))
    assert caught.value.code == "too_few_rows"


def test_a_target_score_is_turned_to_higher_is_better() -> None:
    budget = spec(limits={"target_score": 0.3}).limits
    assert limits_of(budget, greater_is_better=False).target_score == -0.3
    assert limits_of(budget, greater_is_better=True).target_score == 0.3


def test_asked_optimizers_narrow_the_spaces_and_the_families() -> None:
    resolved = resolve(spec(search={"families": ["mlp", "logistic"], "optimizers": ["sgd", "adam"]}), PROFILE)
    spaces = spaces_of(resolved.families, resolved.options["optimizers"])
    assert spaces["mlp"]["optimizer"].domain == Choice("sgd", "adam")
    assert spaces["mlp"].defaults()["optimizer"] == "sgd"
    assert any("sgd, adam" in text for text in resolved.because)
    assert spaces["mlp"].contains(spaces["mlp"].sample(np.random.default_rng(0)))
    assert list(spaces) == list(resolved.families) == ["mlp", "logistic"]


def test_an_unknown_optimizer_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SpecError, match=r"'adamm' is not an optimizer.*known: adagrad, adam, adamw") as caught:
        resolve(spec(search={"optimizers": ["adamm"]}), PROFILE)
    assert caught.value.pointer == "/search/optimizers"
    with pytest.raises(SpecError, match="no family of this job searches its optimizer"):
        resolve(spec(search={"families": ["logistic"], "optimizers": ["adam"]}), PROFILE)
