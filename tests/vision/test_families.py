"""Detectors and segmenters keep their contract: they learn, their graph is the net, the same seed gives the same net."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import onnxruntime
import pytest

from assay.data.front_image import Decoded
from assay.data.table import Table
from assay.errors import TrialStopped
from assay.families import Family, Shape, Split, discover, space_of
from assay.metrics import METRICS
from assay.model.graph import Graph, Port, encode
from assay.space import build
from assay.spec import JobSpec, resolve
from assay.tasks import discover as tasks
from assay.testing.context import ToyContext
from assay.testing.shapes import shapes_table
from assay.vision.evaluate import found_in

FAMILIES = {n: f for n, f in discover().items() if f.tasks & {"object_detection", "segmentation"}}
NAMES = [n for n, f in FAMILIES.items() if not getattr(f, "missing", lambda: "")()]
SIDE = 64


@cache
def problem(task: str) -> Any:
    table = shapes_table(24)
    columns = ["image", "boxes"] if task == "object_detection" else ["image", "mask", "mask_classes"]
    table = table.select(columns)
    spec = JobSpec.from_json({"task": {"type": task}, "validation": {"test_fraction": 0}})
    facts = facts_of_pictures(table)
    resolved = resolve(spec, facts)
    return tasks()[task].prepare(table, dataclasses.replace(resolved, options={"side": SIDE}))


def facts_of_pictures(table: Table) -> Any:
    from assay.data.profile import profile

    return profile(table)


@cache
def split(task: str) -> Split:
    p = problem(task)
    train, valid = p.folds.pairs[0]
    column = p.features.columns["image"]
    assert isinstance(column, Decoded)
    return Split(column.pixels[train], p.y[train], column.pixels[valid], p.y[valid], p.target)


def small(family: Family) -> Any:
    """The default, narrower where it is a net."""
    known = {d.name for d in space_of(family)}
    quick: dict[str, Any] = {}
    if "width" in known:
        quick["width"] = min(v for v in (8, 12, 16) if _allowed(family, "width", v))
    if "trees" in known:
        quick["trees"] = 20
    if "wide" in known:
        quick["wide"] = 32
    return dataclasses.replace(family.Config(), **quick)


def _allowed(family: Family, name: str, value: int) -> bool:
    return value in space_of(family)[name].domain.values  # type: ignore[union-attr]


def run(graph: Graph, x: np.ndarray) -> np.ndarray:
    free: list[int | str | None] = [None, None]
    onnx = encode(graph, [Port("x", "uint8", [None, *x.shape[1:]])], [Port(graph.output, "float32", free)])
    return np.asarray(onnxruntime.InferenceSession(onnx).run(None, {"x": x})[0])


@pytest.mark.parametrize("name", NAMES)
def test_its_graph_answers_like_the_net_also_on_hard_pictures(name: str) -> None:
    family = discover()[name]
    data = split(next(iter(family.tasks)))
    config = small(family)
    predictor = family.fit(config, data, ToyContext(max_steps=1))
    rng = np.random.default_rng(0)
    hard = np.stack([np.zeros((SIDE, SIDE, 3)), np.full((SIDE, SIDE, 3), 255), rng.integers(0, 256, (SIDE, SIDE, 3))])
    x = np.concatenate([data.x_valid, hard.astype(np.uint8)])
    graph = predictor.to_onnx("x")
    expected = predictor.predict(x)
    np.testing.assert_allclose(run(graph, x), expected, 1e-4, 1e-4)
    np.testing.assert_allclose(run(graph, x[:1]), expected[:1], 1e-4, 1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_reports_and_answers(name: str) -> None:
    family = discover()[name]
    data = split(next(iter(family.tasks)))
    contexts = [ToyContext(seed=3, max_steps=1) for _ in range(2)]
    first, second = (family.fit(small(family), data, ctx).predict(data.x_valid) for ctx in contexts)
    assert contexts[0].reports == contexts[1].reports
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", NAMES)
def test_random_configurations_survive_json_and_cost_grows(name: str) -> None:
    family = discover()[name]
    space, rng = space_of(family), np.random.default_rng(1)
    for _ in range(20):
        config = build(family.Config, space.sample(rng))
        few, many = (family.cost(config, Shape(n, 1, 3)) for n in (100, 1000))
        assert 0 < few.seconds < many.seconds and few.host_bytes <= many.host_bytes
        assert family.steps(config) >= 1
    assert build(family.Config, space.defaults()) == family.Config()


@pytest.mark.parametrize(
    ("name", "least", "steps"),
    [
        ("fcos", 0.1, 30),
        ("pretrained_fcos", 0.1, 12),
        ("unet", 0.5, 12),
        ("deeplab", 0.5, 12),
        ("pretrained_unet", 0.4, 6),
        ("pixel_forest", 0.5, 1),
    ],
)
def test_it_learns_shapes(name: str, least: float, steps: int) -> None:
    family = discover()[name]
    task = next(iter(family.tasks))
    data, p = split(task), problem(task)
    predictor = family.fit(small(family), data, ToyContext(max_steps=steps))
    found = found_in(predictor, data.x_valid, len(p.classes), p.resolved.kind)
    assert METRICS[p.resolved.metric].value(list(data.y_valid), found) > least


def test_no_time_at_all_is_told_and_little_time_leaves_a_net() -> None:
    family = discover()["unet"]
    data = split("segmentation")
    with pytest.raises(TrialStopped):
        family.fit(small(family), data, ToyContext(seconds=-1.0))
    predictor = family.fit(small(family), data, ToyContext(seconds=0.2))
    assert np.isfinite(predictor.predict(data.x_valid[:1])).all()
