"""The torch loop learns, keeps the best epoch, and ends when it is told to."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from assay.errors import Diverged, TrialStopped
from assay.training.loop import Batch, LoopPlan, fit_module
from assay.training.optim import OPTIMIZERS, Rule


class Context:
    device, threads, max_steps = "cpu", 1, 1000

    def __init__(self, stop_at: int = 10**9, seconds: float = math.inf, seed: int = 0) -> None:
        self.seed, self.rng = seed, np.random.default_rng(seed)
        self.reports: list[tuple[int, float]] = []
        self._stop_at, self._seconds = stop_at, seconds

    def report(self, step: int, score: float) -> None:
        self.reports.append((step, score))
        if step >= self._stop_at:
            raise TrialStopped

    def seconds_left(self) -> float:
        return self._seconds


def bars() -> tuple[torch.Tensor, torch.Tensor]:
    """8x8 pictures of one upright (0) or lying (1) bar in noise."""
    generator = torch.Generator().manual_seed(0)
    x = 0.3 * torch.randn(192, 1, 8, 8, generator=generator)
    y = torch.arange(192) % 2
    for i in range(192):
        at = i % 8
        if y[i]:
            x[i, 0, at] += 1.0
        else:
            x[i, 0, :, at] += 1.0
    return x, y


X, Y = bars()


def conv() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1), nn.Flatten(), nn.Linear(128, 2)
    )


def batches(epoch: int) -> Iterator[Batch]:
    order = torch.randperm(128, generator=torch.Generator().manual_seed(epoch))
    for rows in order.split(32):
        yield X[rows], Y[rows]


def loss(module: nn.Module, batch: Batch) -> torch.Tensor:
    return nn.functional.cross_entropy(module(batch[0]), batch[1])


def accuracy(module: nn.Module) -> float:
    return float((module(X[128:]).argmax(1) == Y[128:]).float().mean())


def log_likelihood(module: nn.Module) -> float:
    return -float(nn.functional.cross_entropy(module(X[128:]), Y[128:]))


RATES = {"sgd": 0.1, "momentum": 0.05, "nesterov": 0.05, "adagrad": 0.02}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_small_convolution_learns_bars_with_every_optimizer(name: str) -> None:
    module, ctx = conv(), Context()
    plan = LoopPlan(Rule(name, RATES.get(name, 3e-3), momentum=0.8), epochs=15, schedule="one_cycle", clip=5.0)
    fitted = fit_module(module, batches, loss, accuracy, 4, plan, ctx)
    assert fitted.score > 0.9
    assert not module.training
    assert accuracy(module) == fitted.score


def test_the_module_ends_with_its_best_epoch_and_patience_ends_training() -> None:
    module, ctx = conv(), Context()
    plan = LoopPlan(Rule("adam", 0.05), epochs=60, patience=4)
    fitted = fit_module(module, batches, loss, log_likelihood, 4, plan, ctx)
    scores = [score for _, score in ctx.reports]
    assert fitted.score == max(scores) and fitted.epoch == 1 + int(np.argmax(scores))
    assert fitted.epochs == fitted.epoch + 4 < 60
    with torch.no_grad():
        assert log_likelihood(module) == pytest.approx(fitted.score, abs=1e-6)


def test_the_same_seed_gives_the_same_reports() -> None:
    runs = []
    for _ in range(2):
        ctx = Context(seed=7)
        fit_module(conv(), batches, loss, log_likelihood, 4, LoopPlan(Rule("adamw", 1e-3), epochs=3), ctx)
        runs.append(ctx.reports)
    assert runs[0] == runs[1]


def test_a_stop_and_a_short_deadline_leave_a_usable_module() -> None:
    stopped, late = Context(stop_at=2), Context(seconds=0.0)
    plan = LoopPlan(Rule("adam", 1e-2), epochs=50)
    assert fit_module(conv(), batches, loss, accuracy, 4, plan, stopped).epochs == 2
    assert fit_module(conv(), batches, loss, accuracy, 4, plan, late).epochs == 1


def test_max_steps_bounds_the_epochs() -> None:
    ctx = Context()
    ctx.max_steps = 3
    assert fit_module(conv(), batches, loss, accuracy, 4, LoopPlan(Rule("adam", 1e-2), epochs=50), ctx).epochs == 3


def test_a_diverging_module_names_its_optimizer_and_learning_rate() -> None:
    with pytest.raises(Diverged, match=r"'sgd' and learning rate 1e\+30"):
        fit_module(conv(), batches, loss, log_likelihood, 4, LoopPlan(Rule("sgd", 1e30), epochs=5), Context())
