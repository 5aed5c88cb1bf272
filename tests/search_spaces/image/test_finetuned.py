"""A pretrained net that is trained on: it starts from what a linear model knows, and its graph is the net."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnxruntime
import pytest

from assay.families import Shape, Split, Target, space_of
from assay.model.graph import Port, encode
from assay.space import build
from assay.testing.context import ToyContext
from assay.testing.toy_image import SIDE, toy_pixels
from search_spaces.image.finetuned_backbone import FinetunedBackboneConfig, family

pytestmark = pytest.mark.skipif(bool(family.missing()), reason="there are no weights")
QUICK = FinetunedBackboneConfig(size=96, batch_size=16, epochs=2, rand_n=0)


def split() -> Split:
    x, y = toy_pixels(48, 3)
    x_valid, y_valid = toy_pixels(24, 3, seed=1)
    return Split(x, y, x_valid, y_valid, Target("multiclass", 3, "accuracy"))


def test_it_learns_and_its_graph_answers_like_the_net() -> None:
    data = split()
    ctx = ToyContext(max_steps=1)
    predictor = family.fit(QUICK, data, ctx)
    expected = predictor.predict(data.x_valid)
    assert float((expected.argmax(1) == data.y_valid).mean()) > 0.6
    assert ctx.reports
    graph = predictor.to_onnx("x")
    model = encode(graph, [Port("x", "uint8", ["N", SIDE, SIDE, 3])], [Port(graph.output, "float32", ["N", 3])])
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": data.x_valid})[0], expected, atol=1e-4)


def test_early_stages_learn_more_slowly() -> None:
    from assay.training.images.augment import Augment
    from assay.training.images.loop import Plan, groups
    from assay.training.optim import Rule
    from search_spaces.image._backbones import find
    from search_spaces.image.finetuned_backbone import _with_head

    net = _with_head(find().net(96), 3, 0.0)
    plan = Plan(Rule("adamw", 1e-3, weight_decay=0.1), 8, 1, Augment(), layer_decay=0.5)
    rates = {id(p): float(g["lr"]) for g in groups(net, plan) for p in g["params"]}  # type: ignore[arg-type, attr-defined]
    assert rates[id(net.head.weight)] == 1e-3
    assert rates[id(net.body.head.weight)] == 5e-4
    assert rates[id(net.body.stem.weight)] == pytest.approx(1e-3 * 0.5**8)


def test_the_space_survives_json_and_cost_grows() -> None:
    space, rng = space_of(family), np.random.default_rng(0)
    for _ in range(20):
        values = space.sample(rng)
        config = build(family.Config, json.loads(json.dumps(values)))
        few, many = (family.cost(config, Shape(n, 1, 3)) for n in (100, 10_000))
        assert few.seconds < many.seconds and few.host_bytes < many.host_bytes
    assert build(family.Config, space.defaults()) == FinetunedBackboneConfig()
    assert family.steps(dataclasses.replace(QUICK, epochs=5)) == 5
