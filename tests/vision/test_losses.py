"""Which places of a detector answer for a thing, and what they learn."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from assay.metrics.detection import Things
from assay.nn.detection import places
from assay.vision import losses
from assay.vision.losses import aligned_loss, generalised_iou

SIDE, CLASSES = 64, 3


class Told:
    """A detector that answers what it is given: logits (n, classes, P) and distances (n, 4, P) in strides."""

    side = SIDE

    def __init__(self, kinds: Tensor, reaches: Tensor) -> None:
        self.kinds, self.reaches = kinds.requires_grad_(), reaches.requires_grad_()

    def told(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.kinds, self.reaches


def things(boxes: list[list[float]], labels: list[int]) -> Things:
    return Things(np.array(boxes, float).reshape(-1, 4), np.array(labels, np.int64), np.zeros(len(labels), bool))


def blank(n: int = 1) -> Told:
    many = len(places(SIDE)[0])
    return Told(torch.full((n, CLASSES, many), -3.0), torch.full((n, 4, many), 1.3))


def loss_of(net: Told, told: list[Things]) -> Tensor:
    return aligned_loss(net, torch.zeros(len(told), 3, SIDE, SIDE), told, 2.0, 1.0)  # type: ignore[arg-type]


def answering(net: Told, one: Things) -> tuple[Tensor, Tensor]:
    at, steps = (torch.from_numpy(a) for a in places(SIDE))
    signs = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    own = at.repeat(1, 2) + net.reaches.detach().transpose(1, 2) * signs * steps[:, None]
    boxes, labels, there = losses.padded([one])
    fit, chosen = losses._answering(own, net.kinds.detach().sigmoid(), at, steps, boxes, labels, there)
    return fit[0], chosen[0]


def test_the_places_whose_boxes_fit_answer_for_a_thing() -> None:
    one = things([[0.1, 0.1, 0.9, 0.9], [0.3, 0.3, 0.5, 0.5]], [0, 2])
    at, steps = places(SIDE)
    net = blank()
    with torch.no_grad():
        net.reaches += 0.01 * torch.rand(net.reaches.shape, generator=torch.Generator().manual_seed(0))  # no two alike
    fit, chosen = answering(net, one)
    for k, box in enumerate(one.boxes):
        mine = np.flatnonzero(chosen.numpy() == k)
        assert 1 <= len(mine) <= losses.ANSWERING
        assert ((at[mine] > box[:2]) & (at[mine] < box[2:])).all()
    # a large thing is answered for on a coarser level than a small one
    assert steps[chosen.numpy() == 0].min() > steps[chosen.numpy() == 1].min()
    assert fit[chosen < 0].abs().sum() == 0 and fit.max() <= 1


def test_a_place_is_to_be_as_sure_as_its_box_fits() -> None:
    at, steps = places(SIDE)
    net, box = blank(), [0.25, 0.25, 0.75, 0.75]
    best = int(np.flatnonzero((steps == 16 / SIDE) & (np.abs(at - 0.375).max(1) < 1e-6))[0])
    with torch.no_grad():
        sides = np.array([0.125, 0.125, 0.375, 0.375], np.float32) / steps[best]
        net.reaches[0, :, best] = torch.from_numpy(sides)
    fit, chosen = answering(net, things([box], [1]))
    assert chosen[best] == 0 and abs(float(fit[best]) - 1.0) < 1e-4
    assert fit[chosen >= 0].sum() < 1.5  # the others fit less and are told so
    with torch.no_grad():
        net.kinds[0, 1, best] = 2.0
    surer, _ = answering(net, things([box], [1]))
    assert surer[chosen >= 0].sum() < fit[chosen >= 0].sum()


def test_a_thing_smaller_than_every_stride_has_a_place() -> None:
    _, chosen = answering(blank(), things([[0.51, 0.51, 0.53, 0.53]], [0]))
    assert (chosen >= 0).sum() == 1


def test_steps_against_the_slope_find_the_things() -> None:
    told = [things([[0.1, 0.2, 0.4, 0.7], [0.5, 0.5, 0.95, 0.9]], [0, 2]), things([], [])]
    net = blank(2)
    optimizer = torch.optim.Adam([net.kinds, net.reaches], 0.05)
    first = float(loss_of(net, told).detach())
    for _ in range(200):
        optimizer.zero_grad()
        loss_of(net, told).backward()
        optimizer.step()
    assert float(loss_of(net, told).detach()) < 0.3 * first
    scores = net.kinds.detach().sigmoid()
    for label, box in zip((0, 2), told[0].boxes, strict=True):
        best = int(scores[0, label].argmax())
        at, steps = places(SIDE)
        sides = net.reaches.detach()[0, :, best].numpy() * steps[best]
        own = np.concatenate([at[best] - sides[:2], at[best] + sides[2:]])
        assert generalised_iou(torch.from_numpy(own), torch.from_numpy(box).float()) > 0.8
        assert scores[0, label, best] > 0.5
    assert scores[1].max() < 0.1 and scores[0, 1].max() < 0.1


def test_a_batch_without_things_has_a_loss_with_a_slope_for_every_parameter() -> None:
    net = blank()
    loss_of(net, [things([], [])]).backward()
    assert net.kinds.grad is not None and net.reaches.grad is not None
    assert float(net.kinds.grad.sum()) > 0 and float(net.reaches.grad.abs().sum()) == 0
