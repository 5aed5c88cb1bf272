"""What detectors and segmenters are trained with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from assay.metrics.detection import Things
from assay.metrics.segmentation import IGNORED
from assay.nn.detection import STRIDES, Detr, Fcos, places

RADIUS = 1.5  # strides around a thing's centre within which places answer for it
REACHES = (3.0, 3.0)  # strides that the lower levels reach at most; the last one takes the rest
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


def fcos_loss(net: Fcos, x: Tensor, things: Sequence[Things], gamma: float, box_weight: float) -> Tensor:
    """Focal loss of classes, generalised IoU of boxes, cross-entropy of centre-ness, by places that answer for a thing."""
    kinds, reaches, centres = net.told(x)
    boxes, labels, there = padded(things)
    at, steps = (torch.from_numpy(a) for a in places(net.side))
    target, chosen = _assigned(at, steps, boxes, there)
    positive = chosen >= 0
    count = positive.sum().clamp_min(1).float()
    truth = torch.zeros_like(kinds)  # (n, classes, P)
    row, place = positive.nonzero(as_tuple=True)
    truth[row, labels[row, chosen[row, place]], place] = 1.0
    loss = focal(kinds, truth, gamma) / count
    if not len(row):
        return torch.as_tensor(loss + 0.0 * (reaches.sum() + centres.sum()))
    wanted, own = target[row, place], reaches[row, :, place]  # in strides
    signs = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    near = wanted.clamp_min(1e-3)
    central = ((near[:, 0::2].amin(1) / near[:, 0::2].amax(1)) * (near[:, 1::2].amin(1) / near[:, 1::2].amax(1))).sqrt()
    overlap = 1 - generalised_iou(own * signs, wanted * signs)
    loss = loss + box_weight * (overlap * central).sum() / central.sum()
    total: Tensor = loss + F.binary_cross_entropy_with_logits(centres[row, 0, place], central, reduction="sum") / count
    return total


def _assigned(at: Tensor, steps: Tensor, boxes: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Distances to the sides in strides (n, P, 4), and the thing each place answers for (n, P), -1 for none.

    A place answers for the smallest thing around whose centre it lies and whose size is its level's.
    """
    low = at[None, :, None] - boxes[:, None, :, :2]
    high = boxes[:, None, :, 2:] - at[None, :, None]
    sides = torch.cat([low, high], -1) / steps[None, :, None, None]  # (n, P, g, 4)
    middle = 0.5 * (boxes[..., :2] + boxes[..., 2:])
    off = (at[None, :, None] - middle[:, None]).abs().amax(-1) / steps[None, :, None]
    reach = 0.5 * (boxes[..., 2:] - boxes[..., :2]).amax(-1)[:, None] / steps[None, :, None]  # half the longer side
    floor, top = torch.zeros_like(steps), torch.full_like(steps, torch.inf)
    smallest = float(steps.min())
    for k, stride in enumerate(STRIDES):
        level = (steps / smallest * STRIDES[0]).round() == stride
        if k < len(REACHES):
            top[level] = REACHES[k]
        if k:
            floor[level] = REACHES[k - 1] / 2
    inside = (sides.amin(-1) > 0) & (off < RADIUS) & (reach > floor[None, :, None]) & (reach <= top[None, :, None])
    # a thing smaller than every stride has no place inside it: the nearest one of the finest level answers
    tiny = (boxes[..., 2:] - boxes[..., :2]).amin(-1) < smallest
    inside |= tiny[:, None] & (off <= 0.5001) & (steps == smallest)[None, :, None]
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1)[:, None].expand_as(inside)
    area = torch.where(inside & there[:, None], area, torch.inf)
    best, which = area.min(-1)
    chosen = torch.where(best < torch.inf, which, -1)
    picked = sides.gather(2, which[..., None, None].expand(-1, -1, 1, 4))[:, :, 0].clamp_min(0.0)
    return picked, chosen


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
