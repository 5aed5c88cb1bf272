"""Teaching one net several targets: a loss for each over the rows that have its label, and how the losses are weighed.

Every loss is divided by that of the best constant answer, so that a number in millions and a rare class start alike.
weighing "equal" takes their mean; "uncertainty" learns one number s a target and takes the mean of exp(-s) * loss + s:
Kendall, Gal, Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics", CVPR 2018
(with one form for numbers and classes, s = log of the variance, which leaves out their constant factors of one half).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from assay.metrics.multitask import skills
from assay.model.correct import softmax
from assay.model.graph import Scope
from assay.multitask.targets import OneTarget, Truth, constant_answer, spans
from assay.training.losses import Loss, class_loss, target_loss

LEAST_BASE = 0.05  # of a constant's log-loss: a class of one row in a thousand must not weigh a hundredfold


@dataclass(frozen=True)
class Losses:
    """Names and numbers as in `assay.training.losses`.  weighing: "equal" or "uncertainty"."""

    classes: Loss
    numbers: Loss
    weighing: str


@dataclass(frozen=True, eq=False)
class Units:
    """From a net's raw answers to public ones.  mean, deviation: of numeric targets (0 and 1 for classes); low, high:
    their ranges in training, which answers keep.  All float64 (targets,)."""

    targets: tuple[OneTarget, ...]
    mean: np.ndarray
    deviation: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @staticmethod
    def of(truth: Truth) -> Units:
        rows = [(0.0, 1.0, 0.0, 0.0)] * len(truth.targets)
        for i, target in enumerate(truth.targets):
            _, y = truth.column(i)
            if not target.classes and len(y):
                rows[i] = (float(y.mean()), float(y.std()) or 1.0, float(y.min()), float(y.max()))
        columns = [np.array(c) for c in zip(*rows, strict=True)]
        return Units(truth.targets, columns[0], columns[1], columns[2], columns[3])

    def answers(self, raw: np.ndarray) -> np.ndarray:
        """raw: (n, k) logits and scaled numbers -> float64 (n, k) probabilities and numbers."""
        out = np.empty(raw.shape, np.float64)
        for i, (target, span) in enumerate(zip(self.targets, spans(self.targets), strict=True)):
            z = raw[:, span].astype(np.float64)
            if target.classes:
                out[:, span] = softmax(z)
            else:
                out[:, span] = np.clip(z * self.deviation[i] + self.mean[i], self.low[i], self.high[i])
        return out

    def emit(self, scope: Scope, raw: str) -> str:
        """`answers` as nodes, float32 [N, k]."""
        parts = []
        for i, (target, span) in enumerate(zip(self.targets, spans(self.targets), strict=True)):
            ends = [scope.const(np.array([v], np.int64)) for v in (span.start, span.stop, 1)]
            z = scope.add("Slice", raw, *ends)
            if target.classes:
                parts.append(scope.add("Softmax", z, axis=1))
                continue
            scaled = scope.add("Mul", z, scope.const(np.float32(self.deviation[i])))
            moved = scope.add("Add", scaled, scope.const(np.float32(self.mean[i])))
            parts.append(scope.add("Clip", moved, *(scope.const(np.float32(b[i])) for b in (self.low, self.high))))
        return parts[0] if len(parts) == 1 else scope.add("Concat", *parts, axis=1)


class MultiLoss(nn.Module):
    """The joint loss of a batch.  Has the learned weights of "uncertainty" as parameters."""

    def __init__(self, truth: Truth, weight: np.ndarray | None, losses: Losses, device: str = "cpu") -> None:
        super().__init__()
        self.targets, self.spans = truth.targets, spans(truth.targets)
        self.weighing = losses.weighing
        self.log_variance = nn.Parameter(
            torch.zeros(len(truth.targets)), requires_grad=losses.weighing == "uncertainty"
        )
        shares = constant_answer(truth, weight)
        self.rows: list[Any] = []
        self.base: list[float] = []
        for target, span in zip(self.targets, self.spans, strict=True):
            if target.classes:
                p = shares[span]
                self.rows.append(class_loss([losses.classes], p[None], device, torch.float32))
                entropy = -float((p[p > 0] * np.log(p[p > 0])).sum())
                self.base.append(max(LEAST_BASE, entropy))
            else:
                self.rows.append(target_loss([losses.numbers], device, torch.float32))
                self.base.append(1.0)

    def forward(self, raw: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """raw: (B, k); y: (B, targets) codes and scaled numbers, NaN where missing; weight: (B,)."""
        told = weight[:, None] * ~torch.isnan(y)  # a row counts for the targets it has a label of
        y, total = torch.nan_to_num(y), told.sum(0)
        parts = []
        for i, (target, span) in enumerate(zip(self.targets, self.spans, strict=True)):
            own = y[None, :, i]
            rows = self.rows[i].rows(raw[None, :, None, span], own.long() if target.classes else own)[0]
            parts.append((rows * told[:, i]).sum() / total[i].clamp_min(1e-12) / self.base[i])
        each = torch.stack(parts)
        if self.weighing == "uncertainty":
            each = torch.exp(-self.log_variance) * each + self.log_variance * (total > 0)
        return each.mean()


@dataclass(frozen=True, eq=False)
class Lesson:
    """The labels of a fold as a net needs them.  y: float32 (n, targets) codes and scaled numbers, NaN where missing."""

    units: Units
    y: Tensor
    weight: Tensor
    truth_valid: Truth
    weight_valid: np.ndarray | None

    @staticmethod
    def of(
        truth: Truth,
        weight: np.ndarray | None,
        truth_valid: Truth,
        weight_valid: np.ndarray | None,
        device: str = "cpu",
    ) -> Lesson:
        units = Units.of(truth)
        y = torch.as_tensor((np.asarray(truth) - units.mean) / units.deviation, dtype=torch.float32, device=device)
        w = np.ones(len(truth)) if weight is None else weight / weight.mean()
        return Lesson(units, y, torch.as_tensor(w, dtype=torch.float32, device=device), truth_valid, weight_valid)

    def score(self, raw: np.ndarray) -> float:
        """Mean skill over the targets of raw validation answers; NaN where the net answers none."""
        if not np.isfinite(raw).all():
            return float("nan")
        told = skills(self.truth_valid, self.units.answers(raw), self.weight_valid)
        told = told[~np.isnan(told)]
        return float(told.mean()) if len(told) else 0.0


def arrays(params: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value.detach().cpu().numpy(), np.float32) for name, value in params.items()}
