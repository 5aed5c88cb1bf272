"""MMD-Net and its twins: stages, frozen parts, heads that learn, and a graph that answers alike."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from assay.data.profile import profile
from assay.families import Split, discover, space_of
from assay.model.graph import Port, Scope, encode
from assay.multitask.pictures import PictureTarget, answered, values
from assay.multitask.seen import Seen
from assay.space import build
from assay.spec import JobSpec, resolve
from assay.tasks.multitask import task
from assay.testing.context import ToyContext
from assay.testing.scenes import scenes_table
from search_spaces.multitask._stages import Kept, Lessons, fit_labels, fit_masks

SPEC = {"task": {"type": "multitask", "targets": ["label", "mask", "weight"]}, "validation": {"test_fraction": 0.0}}


@cache
def toy(n: int = 60) -> tuple[Split, Any]:
    table = scenes_table(n, side=48)
    problem = task.prepare(table, resolve(JobSpec.from_json(SPEC), profile(table)))
    train, valid = problem.folds.pairs[0]
    family = discover()["mmd_net"]
    preparation: Any
    preparation, x = family.recipe(family.Config()).fit(
        problem.features.take(train), problem.y[train], problem.target, 0
    )
    x_valid = preparation.transform(problem.features.take(valid))
    return Split(x, problem.y[train], x_valid, problem.y[valid], problem.target), problem


def config(name: str, **more: Any) -> Any:
    family = discover()[name]
    space = space_of(family)
    plain = {"mirror": "on", "width": 12, "epochs": 30, "backbone": "own", **more}
    return family, dataclasses.replace(
        build(family.Config, space.complete({**space.defaults(), **plain})), epochs=more.get("epochs", 30)
    )


@pytest.mark.parametrize(
    ("name", "more"),
    [("mmd_net", {}), ("mmd_net", {"training": "joint"}), ("mmd_net", {"training": "thawed"}), ("mmd_net_alone", {})],
)
def test_every_head_learns_and_the_graph_answers_alike(name: str, more: dict[str, Any]) -> None:
    split, problem = toy()
    family, chosen = config(name, **more, epochs=4)
    ctx = ToyContext(max_steps=family.steps(chosen))
    predictor = family.fit(chosen, split, ctx)
    target = problem.target
    assert isinstance(target, PictureTarget)
    told, masks = answered(predictor.predict, split.x_valid, target)
    found = values(list(split.y_valid), told, masks, target)
    assert found["mask:mean_iou"] > 0.6, found
    assert found["weight:r2"] > 0.0 or found["label:accuracy"] > 0.4, found
    steps = [step for step, _ in ctx.reports]
    assert steps == sorted(set(steps)) and steps[-1] <= ctx.max_steps
    x = split.x_valid[:5]
    expected = predictor.predict(x)
    np.testing.assert_allclose(ran(predictor, x), expected, 1e-4, 1e-4)
    np.testing.assert_allclose(predictor.predict(x[:1]), expected[:1], 1e-5, 1e-5)


def test_stage_two_leaves_what_is_frozen_as_it_was() -> None:
    split, _ = toy()
    _, chosen = config("mmd_net", epochs=2)
    lessons = Lessons(chosen, split, ToyContext(max_steps=100))
    net = lessons.net()
    fit_labels(lessons, net, 0.5)
    net.fix(net.backbone, net.auxiliary, net.heads)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    fit_masks(lessons, net, 1.0)
    after = net.state_dict()
    changed = {k.split(".")[0] for k in before if not torch.equal(before[k], after[k])}
    assert changed == {"segmenter"}, "weights and running statistics of frozen parts stay"
    net.train()
    assert not net.backbone.training and not net.auxiliary.training


def test_frozen_features_are_computed_once() -> None:
    split, _ = toy()
    _, chosen = config("mmd_net", epochs=2)
    lessons = Lessons(chosen, split, ToyContext())
    net = lessons.net()
    net.fix(net.backbone, net.auxiliary, net.heads)
    kept = Kept(lessons, net, 1)
    rows = lessons.drawn[:4]
    first = kept.batch(rows, np.random.default_rng(0))
    again = kept.batch(rows[::-1].copy(), np.random.default_rng(1))
    torch.testing.assert_close(first[0], again[0].flip(0), rtol=0, atol=0)
    torch.testing.assert_close(first[1][0].maps[0], again[1][0].maps[0].flip(0), rtol=0, atol=0)
    assert len(kept._store) == 4


def test_side_information_reaches_the_answer() -> None:
    split, _ = toy()
    family, chosen = config("mmd_net", epochs=3)
    predictor = family.fit(chosen, split, ToyContext(max_steps=100))
    x = split.x_valid[:6]
    assert isinstance(x, Seen) and x.beside.shape[1] > 0
    other = Seen(x.pixels, np.roll(x.beside, 1, 1) + 1)
    assert np.abs(predictor.predict(x)[:, :4] - predictor.predict(other)[:, :4]).max() > 1e-4


def test_the_same_seed_gives_the_same_net() -> None:
    split, _ = toy()
    family, chosen = config("mmd_net", epochs=2)
    first, second = (
        family.fit(chosen, split, ToyContext(seed=3, max_steps=100)).predict(split.x_valid) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def ran(predictor: Any, x: Seen) -> np.ndarray:
    import onnxruntime

    scope = Scope()
    graph = scope.graph(predictor.emit(scope, "pixels", "beside"))
    ports = [Port("pixels", "uint8", [None, *x.pixels.shape[1:]]), Port("beside", "float32", [None, x.beside.shape[1]])]
    session = onnxruntime.InferenceSession(encode(graph, ports, [Port(graph.output, "float32", [None, None])]))
    found = session.run(None, {"pixels": x.pixels, "beside": x.beside.astype(np.float32)})[0]
    return np.asarray(found)


def test_a_pretrained_backbone_stays_as_it_was_and_its_graph_answers_alike() -> None:
    from assay.nn.images.weights import installed

    if not installed():
        pytest.skip("the weights are not installed")
    split, _ = toy()
    family, chosen = config("mmd_net", epochs=1, backbone="pretrained", views=2)
    predictor = family.fit(chosen, split, ToyContext(max_steps=10))
    fresh = Lessons(chosen, split, ToyContext()).net()
    for name, value in predictor.teller.backbone.state_dict().items():
        assert torch.equal(value, fresh.backbone.state_dict()[name]), name
    x = split.x_valid[:2]
    np.testing.assert_allclose(ran(predictor, x), predictor.predict(x), 2e-4, 2e-4)


def test_stage_one_is_guided_to_where_masks_are_and_a_twin_has_no_such_guide() -> None:
    from assay.nn.conv2d import TORCH
    from assay.nn.mmd_net import MmdNet, Sizes

    torch.manual_seed(0)
    net = MmdNet(Sizes(48, 1, 0, 3, 2, 12))
    x = torch.rand(6, 3, 48, 48) * 255
    masks = torch.zeros(6, 48, 48, dtype=torch.int64)
    masks[:, :24] = 1
    maps = net.seen(TORCH, x, None).maps
    assert float(net.guided(maps, torch.full_like(masks, 255)).detach()) == 0.0
    before = net.guided(maps, masks)
    before.backward()
    first = next(iter(net.backbone.parameters()))
    assert first.grad is not None and float(first.grad.abs().sum()) > 0
    with torch.no_grad():
        for guide in net.guides:
            assert isinstance(guide, torch.nn.Conv2d) and guide.bias is not None
            guide.weight.zero_()
            guide.bias.copy_(torch.tensor([0.0, 0.0]))
        undecided = float(net.guided(maps, masks))
        assert undecided == pytest.approx(1.0, abs=1e-5)
        masks[:] = 1
        for guide in net.guides:
            assert isinstance(guide, torch.nn.Conv2d) and guide.bias is not None
            guide.bias.copy_(torch.tensor([0.0, 9.0]))
        assert float(net.guided(maps, masks)) < 0.01
    assert not MmdNet(Sizes(48, 1, 0, 3, 0, 12)).guides and not MmdNet(Sizes(48, 1, 0, 0, 2, 12)).guides
