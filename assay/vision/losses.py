"""What detectors and segmenters are trained with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from assay.metrics.detection import Things
from assay.metrics.segmentation import IGNORED
from assay.nn.detection import Detr, Fcos, places

RADIUS = 1.5  # strides around a thing's centre within which the dense head's places answer for it
ANSWERING = 9  # places that answer for a thing, at most
SURE, FIT = 1.0, 4.0  # powers of a place's score and of its box's overlap in how well it answers
MISSED = 0.75  # weight of places that answer for nothing (VarifocalNet)
BOXES = 2.0  # weight of the boxes' loss
COSTS = (2.0, 5.0, 2.0)  # of class, distance and overlap in matching and in the loss (Deformable DETR)


def focal(logits: Tensor, truth: Tensor, gamma: float) -> Tensor:
    """Lin et al.: Focal Loss for Dense Object Detection. ICCV 2017; alpha 1/4.  Summed."""
    p = logits.sigmoid()
    plain = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    right = p * truth + (1 - p) * (1 - truth)
    weight = 0.25 * truth + 0.75 * (1 - truth)
    return (weight * (1 - right).pow(gamma) * plain).sum()


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """Of boxes (..., 4) with corners.  Rezatofighi et al.: Generalized Intersection over Union. CVPR 2019."""
    inner = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp_min(0).prod(-1)
    around = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp_min(0).prod(-1)
    total = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inner
    iou = inner / total.clamp_min(1e-7)
    found: Tensor = iou - (around - total) / around.clamp_min(1e-7)
    return found


def padded(things: Sequence[Things]) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (n, g, 4), labels (n, g) and which are there, bool (n, g).  Ignored things are left out."""
    most = max(1, *(int((~t.ignored).sum()) for t in things))
    boxes, labels = torch.zeros(len(things), most, 4), torch.zeros(len(things), most, dtype=torch.int64)
    there = torch.zeros(len(things), most, dtype=torch.bool)
    for i, t in enumerate(things):
        kept = ~t.ignored
        n = int(kept.sum())
        boxes[i, :n] = torch.from_numpy(t.boxes[kept]).float()
        labels[i, :n] = torch.from_numpy(t.labels[kept])
        there[i, :n] = True
    return boxes, labels, there


def aligned_loss(net: Fcos, x: Tensor, things: Sequence[Things], gamma: float, box_weight: float) -> Tensor:
    """Varifocal loss of classes, generalised IoU of boxes, by the places that answer best for each thing.

    Feng et al.: TOOD, Task-aligned One-stage Object Detection. ICCV 2021; what places of any level are to be as sure of is how
    well their boxes fit, by the loss of Zhang et al.: VarifocalNet. CVPR 2021.
    """
    kinds, reaches = net.told(x)  # (n, classes, P), (n, 4, P)
    boxes, labels, there = padded(things)
    at, steps = (torch.from_numpy(a) for a in places(net.side))
    own = at.repeat(1, 2) + reaches.transpose(1, 2) * torch.tensor([-1.0, -1.0, 1.0, 1.0]) * steps[:, None]  # (n, P, 4)
    sure = kinds.sigmoid().detach()
    fit, chosen = _answering(own.detach(), sure, at, steps, boxes, labels, there)
    row, place = (chosen >= 0).nonzero(as_tuple=True)
    thing, wanted = chosen[row, place], fit[row, place]
    truth = torch.zeros_like(kinds)
    truth[row, labels[row, thing], place] = wanted
    weight = torch.where(truth > 0, truth, MISSED * sure.pow(gamma))
    plain = F.binary_cross_entropy_with_logits(kinds, truth, reduction="none")
    loss = (weight * plain).sum() / truth.sum().clamp_min(1.0)
    if not len(row):
        return torch.as_tensor(loss + 0.0 * reaches.sum())
    apart = 1 - generalised_iou(own[row, place], boxes[row, thing])
    return torch.as_tensor(loss + BOXES * box_weight * (apart * wanted).sum() / wanted.sum().clamp_min(1e-3))


@torch.no_grad()
def _answering(
    own: Tensor, sure: Tensor, at: Tensor, steps: Tensor, boxes: Tensor, labels: Tensor, there: Tensor
) -> tuple[Tensor, Tensor]:
    """How well each place answers, (n, P), 1 at most, and the thing it answers for (n, P), -1 for none.

    own: boxes (n, P, 4) and sure: scores (n, classes, P) as they are now.  Of the places inside a thing those few answer for it
    whose box fits and which are sure of its class; of several things, for the one that their box fits best.
    """
    a, b = own[:, :, None], boxes[:, None]  # (n, P, 1, 4), (n, 1, g, 4)
    inner = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp_min(0).prod(-1)
    area = (b[..., 2:] - b[..., :2]).prod(-1)
    iou = inner / ((a[..., 2:] - a[..., :2]).prod(-1) + area - inner).clamp_min(1e-9)  # (n, P, g)
    score = sure.gather(1, labels[:, :, None].expand(-1, -1, sure.shape[2])).transpose(1, 2)
    low, high = at[None, :, None] - b[..., :2], b[..., 2:] - at[None, :, None]
    inside = torch.minimum(low, high).amin(-1) > 0
    # a thing smaller than every stride has no place inside it: the nearest one of the finest level answers
    tiny = (boxes[..., 2:] - boxes[..., :2]).amin(-1) < steps.min()
    off = 0.5 * (low - high).abs().amax(-1) / steps[:, None]  # of its centre, in strides
    inside |= tiny[:, None] & (off <= 0.5001) & (steps == steps.min())[:, None]
    inside &= there[:, None]
    aligned = torch.where(inside, score.pow(SURE) * iou.pow(FIT) + 1e-12, 0.0)
    least = aligned.topk(min(ANSWERING, aligned.shape[1]), 1).values[:, -1:]
    fits, which = torch.where(inside & (aligned >= least), iou + 1e-9, -1.0).max(-1)
    mine = (fits > 0)[..., None] & (torch.arange(boxes.shape[1]) == which[..., None])
    aligned, iou = torch.where(mine, aligned, 0.0), torch.where(mine, iou, 0.0)
    # the best place of a thing is to be as sure as its box fits, the others less in proportion
    told = aligned / aligned.amax(1, keepdim=True).clamp_min(1e-12) * iou.amax(1, keepdim=True)
    return told.amax(-1), torch.where(fits > 0, which, -1)


def detr_loss(net: Detr, x: Tensor, things: Sequence[Things], gamma: float, box_weight: float) -> Tensor:
    """Of every layer: queries matched one to one with things; focal loss, distance and overlap.  And a dense head's."""
    kinds, boxes, level = net.told(x)
    target, labels, there = padded(things)
    count = max(1.0, float(there.sum()))
    loss = x.new_zeros(())
    for k, b in zip(kinds, boxes, strict=True):
        corners = torch.cat([b[..., :2] - 0.5 * b[..., 2:], b[..., :2] + 0.5 * b[..., 2:]], -1)
        row, query, thing = _matched(k, corners, target, labels, there)
        truth = torch.zeros_like(k)
        truth[row, query, labels[row, thing]] = 1.0
        loss = loss + COSTS[0] * focal(k, truth, gamma) / count
        if len(row):
            own, wanted = corners[row, query], target[row, thing]
            loss = loss + box_weight * COSTS[1] * (own - wanted).abs().sum() / count
            loss = loss + box_weight * COSTS[2] * (1 - generalised_iou(own, wanted)).sum() / count
    dense = net.dense(level)  # (n, classes, h, w)
    at, steps = (torch.from_numpy(a) for a in places(net.side, (16,)))
    off = (at[None, :, None] - 0.5 * (target[..., :2] + target[..., 2:])[:, None]).abs().amax(-1)
    centre = (off < RADIUS * steps[0]) & there[:, None]  # (n, P, g)
    truth = torch.zeros(len(x), len(at), net.classes)
    row, place, thing = centre.nonzero(as_tuple=True)
    truth[row, place, labels[row, thing]] = 1.0
    return loss + focal(dense.flatten(2).transpose(1, 2), truth, gamma) / max(1.0, float(truth.sum()))


@torch.no_grad()
def _matched(
    kinds: Tensor, corners: Tensor, target: Tensor, labels: Tensor, there: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The cheapest pairs: rows, queries and things."""
    from scipy.optimize import linear_sum_assignment

    rows, queries, things = [], [], []
    p = kinds.sigmoid()
    for i in range(len(kinds)):
        n = int(there[i].sum())
        if not n:
            continue
        own = p[i][:, labels[i, :n]]
        cost = -COSTS[0] * own + COSTS[1] * torch.cdist(corners[i], target[i, :n], p=1)
        cost -= COSTS[2] * generalised_iou(corners[i][:, None], target[i, None, :n])
        a, b = linear_sum_assignment(np.nan_to_num(cost.numpy(), nan=1e6))
        rows += [i] * len(a)
        queries += a.tolist()
        things += b.tolist()
    return (
        torch.tensor(rows, dtype=torch.int64),
        torch.tensor(queries, dtype=torch.int64),
        torch.tensor(things, dtype=torch.int64),
    )


def mask_loss(logits: Tensor, truth: Tensor, weight: Tensor | None, dice: float, smoothing: float) -> Tensor:
    """Cross-entropy, and Dice over the batch's classes.  logits: (n, classes, h, w); truth: int64 (n, h, w), 255 for none.

    Milletari, Navab, Ahmadi: V-Net. 3DV 2016, for the latter.
    """
    counted = truth != IGNORED
    if not bool(counted.any()):
        return 0.0 * logits.sum()
    loss = F.cross_entropy(logits, truth, weight, ignore_index=IGNORED, label_smoothing=smoothing)
    if dice <= 0:
        return loss
    p = logits.softmax(1) * counted[:, None]
    hot = F.one_hot(torch.where(counted, truth, 0), logits.shape[1]).permute(0, 3, 1, 2) * counted[:, None]
    inner, total = (p * hot).sum((0, 2, 3)), (p + hot).sum((0, 2, 3))
    there = hot.sum((0, 2, 3)) > 0
    return loss + dice * (1 - (2 * inner[there] + 1) / (total[there] + 1)).mean()
