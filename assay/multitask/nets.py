"""Training a net over design matrices on several targets, one fold, and the predictor that comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from assay.families import Predictor, Split, TrialContext
from assay.model.graph import Graph, Scope
from assay.multitask.targets import OneTarget, Truth
from assay.multitask.teach import Lesson, Losses, MultiLoss, Units, arrays
from assay.nn.net import Dropout, Net
from assay.training.feed import batch_size
from assay.training.loop import LoopPlan, fit_module

CHUNK = 1 << 12  # rows predicted in one pass
BOUND = 10.0  # inputs are scaled, so this is ten deviations
_FIXED = 0.0  # factor on the learning rate of what is not trained


@dataclass(frozen=True)
class MultiPlan:
    """net: the architecture by (columns, targets).  batch: as wished; small folds get smaller batches."""

    net: Callable[[int, tuple[OneTarget, ...]], Net]
    losses: Losses
    loop: LoopPlan
    batch: int
    dropout: float


class NetModule(nn.Module):
    """One member of a `Net` as a module, with the loss that may have parameters of its own."""

    rate: Tensor

    def __init__(self, net: Net, params: Mapping[str, np.ndarray], loss: MultiLoss, dropout: float, seed: int) -> None:
        super().__init__()
        self.net, self.loss = net, loss
        self.register_buffer("rate", torch.full((1, 1, 1), dropout))
        self.dropout, self.seed = dropout, seed
        self.generator: torch.Generator | None = None  # made on the device where training turns out to be
        fixed = {name for name, factor in net.lr_factors().items() if factor == _FIXED}
        self.params = nn.ParameterDict(
            {
                name: nn.Parameter(torch.as_tensor(a, dtype=torch.float32)[None], requires_grad=name not in fixed)
                for name, a in params.items()
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, d) -> (B, k)."""
        dropout = None
        if self.training and self.dropout > 0:
            if self.generator is None:
                self.generator = torch.Generator(x.device).manual_seed(self.seed)
            dropout = Dropout(self.rate, self.generator)
        return self.net.forward(dict(self.params.items()), x[None], dropout)[0].mean(1)


def fit_multi(plan: MultiPlan, data: Split, ctx: TrialContext) -> Predictor:
    """Train on one fold and answer with the best epoch.  Raises Diverged."""
    truth, truth_valid = data.y, data.y_valid
    assert isinstance(truth, Truth) and isinstance(truth_valid, Truth)
    device = ctx.device
    x, x_valid = (bounded(rows).to(device) for rows in (data.x, data.x_valid))
    lesson = Lesson.of(truth, data.weight, truth_valid, data.weight_valid, device)
    net = plan.net(x.shape[1], truth.targets)
    params = net.init(np.random.default_rng([ctx.seed, 0x1417]), bounded(data.x).numpy())
    loss = MultiLoss(truth, data.weight, plan.losses, device)
    module = NetModule(net, params, loss, plan.dropout, ctx.seed)
    batch = batch_size(plan.batch, len(x))

    def batches(epoch: int) -> Iterator[tuple[Any, Any]]:
        order = torch.as_tensor(np.random.default_rng([ctx.seed, epoch]).permutation(len(x)), device=device)
        for rows in order.split(batch):
            yield x[rows], (lesson.y[rows], lesson.weight[rows])

    def of(module: nn.Module, given: tuple[Any, Any]) -> Tensor:
        assert isinstance(module, NetModule)
        value: Tensor = module.loss(module(given[0]), *given[1])
        return value

    fit_module(module, batches, of, lambda m: lesson.score(answer(m, x_valid)), -(-len(x) // batch), plan.loop, ctx)
    found = {name: a[0] for name, a in arrays(dict(module.params.items())).items()}
    return MultiNetPredictor(net, found, lesson.units)


class MultiNetPredictor:
    """A trained net and the units of its answers."""

    def __init__(self, net: Net, params: Mapping[str, np.ndarray], units: Units) -> None:
        self._net, self._params, self._units = net, params, units

    @torch.no_grad()
    def predict(self, x: np.ndarray) -> np.ndarray:
        params = {name: torch.from_numpy(a)[None] for name, a in self._params.items()}
        rows = bounded(x)
        parts = [
            self._net.forward(params, rows[None, i : i + CHUNK], None)[0].mean(1).numpy()
            for i in range(0, max(1, len(rows)), CHUNK)
        ]
        return self._units.answers(np.concatenate(parts))

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        inside = scope.add("Clip", x, scope.const(np.float32(-BOUND)), scope.const(np.float32(BOUND)))
        answers = self._net.emit(scope, self._params, inside)
        raw = answers[0] if len(answers) == 1 else scope.add("Mean", *answers)
        return scope.graph(self._units.emit(scope, raw))


def bounded(x: np.ndarray) -> Tensor:
    return torch.from_numpy(np.clip(np.ascontiguousarray(x, np.float32), -BOUND, BOUND))


def answer(module: nn.Module, x: Tensor) -> np.ndarray:
    """Raw answers in evaluation mode, float32 (n, k)."""
    return (
        np.concatenate([module(part).cpu().numpy() for part in x.split(CHUNK)])
        if len(x)
        else np.empty((0, 1), np.float32)
    )
