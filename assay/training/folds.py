"""All folds of one tabular configuration as one population, and the predictors that come out of it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from assay.errors import Diverged
from assay.families import Split, TrialContext
from assay.model.graph import Graph, Scope
from assay.nn.net import Net
from assay.training.feed import Table, batch_size
from assay.training.population import Member, Plan, State, Trained, train

_CHUNK = 1 << 13  # rows predicted in one pass


@dataclass(frozen=True)
class FoldPlan:
    """One configuration, ready to train.

    net: the architecture by (columns, outputs).  member: the member for a table and a seed.  batch and epochs: as
    wished; small folds get smaller batches.  bound: inputs are cut to +-bound, in training and in serving, because one
    wild value must not own a net; None leaves them.  describe: optimizer and learning rate, for error messages.
    """

    net: Callable[[int, int], Net]
    member: Callable[[int, int], Member]
    batch: int
    epochs: int
    bound: float | None
    describe: str


def train_folds(
    plan: FoldPlan, folds: Sequence[Split], ctx: TrialContext, resume: Sequence[State] | None = None
) -> list[NetPredictor]:
    """Train every fold and answer with their predictors, each from its own best epoch.

    Reports, after every epoch, minus the mean over folds of the best validation loss so far (log-loss, or squared error
    of the scaled target): higher is better, comparable within a family, not between tasks.  Raises Diverged when the
    loss of any fold becomes NaN or infinite: such a configuration cannot be trusted on the others either.
    A split without validation rows gets the epoch where the mean over the folds was best.
    """
    target = folds[0].target
    tables = [_table(fold, plan.bound) for fold in folds]
    members = [plan.member(i, _seed(ctx.seed, table)) for i, table in enumerate(tables)]
    epochs = max(1, min(plan.epochs, ctx.max_steps))
    batch = min(batch_size(plan.batch, len(t.x)) for t in tables)
    device = ctx.device if ctx.device == "cpu" or torch.cuda.is_available() else "cpu"

    def on_epoch(epoch: int, losses: np.ndarray) -> None:
        if np.isnan(losses).any():
            wild = ", ".join(str(i + 1) for i in np.flatnonzero(np.isnan(losses)))
            raise Diverged(
                f"the validation loss became NaN or infinite in epoch {epoch} (fold {wild} of {len(folds)}) with "
                f"{plan.describe}; a smaller learning rate is the usual cure"
            )
        ctx.report(epoch, -float(losses.mean()) if len(losses) else float("nan"))

    trained = train(
        lambda d: plan.net(d, target.n_outputs),
        tables,
        members,
        Plan(epochs, batch, target.n_classes, ctx.seed, device, ctx.threads),
        on_epoch,
        ctx.seconds_left,
        resume,
    )
    return [
        NetPredictor(plan.net(table.x.shape[1], target.n_outputs), result, plan.bound, _range(table, target.n_classes))
        for table, result in zip(tables, trained, strict=True)
    ]


class NetPredictor:
    """A trained net over design matrices.  bounds: range of the training targets, None for classes."""

    def __init__(self, net: Net, trained: Trained, bound: float | None, bounds: tuple[float, float] | None) -> None:
        self._net, self._trained, self._bound, self._bounds = net, trained, bound, bounds
        self._params = {name: a.astype(np.float32) for name, a in trained.params.items()}

    @property
    def best_step(self) -> int:
        """The epoch the parameters are from, 1-based."""
        return self._trained.epoch

    def predict(self, x: np.ndarray) -> np.ndarray:
        """x: float32 (n, d) -> float32 (n, k): class probabilities, or one scaled target."""
        params = {name: torch.from_numpy(a)[None] for name, a in self._params.items()}
        parts = [self._answer(params, x[i : i + _CHUNK]) for i in range(0, max(1, len(x)), _CHUNK)]
        return np.concatenate(parts)

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        if self._bound is not None:
            x = scope.add("Clip", x, scope.const(-self._bound), scope.const(self._bound))
        answers = self._net.emit(scope, self._params, x)
        if self._bounds is None:
            answers = [scope.add("Softmax", a, axis=-1) for a in answers]
        mean = answers[0] if len(answers) == 1 else scope.add("Mean", *answers)
        if self._bounds is not None:
            mean = scope.add("Clip", mean, scope.const(self._bounds[0]), scope.const(self._bounds[1]))
        return scope.graph(mean)

    def state(self) -> dict[str, np.ndarray]:
        """Parameters, optimizer buffers and counters; handed to `fit(..., resume=...)`, training goes on from there."""
        return self._trained.state

    @torch.no_grad()
    def _answer(self, params: Mapping[str, torch.Tensor], x: np.ndarray) -> np.ndarray:
        rows = torch.from_numpy(_bounded(x, self._bound))[None]
        out = self._net.forward(params, rows, None)[0]  # (n, E, c)
        if self._bounds is None:
            return np.asarray(torch.softmax(out, dim=-1).mean(1).numpy())
        return np.asarray(out.mean(1).clamp(*self._bounds).numpy())


def _table(fold: Split, bound: float | None) -> Table:
    y_type = np.float64 if fold.target.is_regression else np.int64
    weight_valid = fold.weight_valid
    if not fold.target.is_regression:
        # a class without training rows cannot be learnt, so its validation rows must not choose the epoch
        known = np.isin(fold.y_valid, fold.y)
        if known.any() and not known.all():
            weight_valid = known * (1.0 if weight_valid is None else weight_valid)
    return Table(
        _bounded(fold.x, bound),
        fold.y.astype(y_type, copy=False),
        _bounded(fold.x_valid, bound),
        fold.y_valid.astype(y_type, copy=False),
        fold.weight,
        weight_valid,
    )


def _bounded(x: np.ndarray, bound: float | None) -> np.ndarray:
    x = np.ascontiguousarray(x, dtype=np.float32)
    return x if bound is None else np.clip(x, -bound, bound)


def _range(table: Table, n_classes: int) -> tuple[float, float] | None:
    return None if n_classes else (float(table.y.min()), float(table.y.max()))


def _seed(seed: int, table: Table) -> int:
    """A seed from the trial's and the fold's own rows: folds start apart, and one alone as it does among others."""
    mark = zlib.crc32(table.x.tobytes(), zlib.crc32(table.y.tobytes()))
    return int(np.random.SeedSequence([seed, mark]).generate_state(1, np.uint64)[0] >> 1)
