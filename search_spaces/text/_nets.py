"""Training nets over texts on one fold: what is searched of it, batches of like length, and the predictor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from assay.data.texts import Tokens
from assay.errors import TrialStopped
from assay.families import Predictor, Split, TrialContext
from assay.model.graph import Graph, Scope
from assay.space import Choice, Float, Int, When
from search_spaces.tabular._answers import Classes, Constant, prior

if TYPE_CHECKING:
    import torch

    from assay.nn.tokens import TextNet

ADAPTIVE = ("adam", "adamw", "rmsprop")
GRADIENT = ("sgd", "momentum", "nesterov", "adagrad")
CHUNK = 512  # rows predicted in one pass
CLIP = 1.0  # largest norm of a gradient


@dataclass(frozen=True)
class Training:
    """What is searched of every net.  Two learning rates, because plain gradient steps want larger ones."""

    optimizer: Annotated[str, Choice("sgd", "momentum", "nesterov", "adam", "adamw", "adagrad", "rmsprop")] = "adamw"
    learning_rate: Annotated[float, Float(1e-4, 2e-2, log=True), When("optimizer", *ADAPTIVE)] = 3e-3
    sgd_learning_rate: Annotated[float, Float(3e-3, 1.0, log=True), When("optimizer", *GRADIENT)] = 0.1
    momentum: Annotated[float, Float(0.5, 0.98), When("optimizer", "momentum", "nesterov")] = 0.9
    weight_decay: Annotated[float, Float(1e-5, 0.3, log=True), When("optimizer", "adamw")] = 0.01
    l2: Annotated[float, Float(1e-8, 1e-3, log=True), When("optimizer", "adam", "rmsprop", *GRADIENT)] = 1e-6
    schedule: Annotated[str, Choice("constant", "cosine", "one_cycle", "linear", "exponential", "step")] = "one_cycle"
    classification_loss: Annotated[str, Choice("cross_entropy", "label_smoothing", "kl")] = "cross_entropy"
    smoothing: Annotated[float, Float(0.01, 0.2, log=True), When("classification_loss", "label_smoothing", "kl")] = 0.05
    regression_loss: Annotated[str, Choice("mse", "huber")] = "mse"
    delta: Annotated[float, Float(0.1, 3.0, log=True), When("regression_loss", "huber")] = 1.0
    dropout: Annotated[float, Float(0.0, 0.6)] = 0.3
    batch_size: Annotated[int, Choice(32, 64, 128)] = 64
    epochs: Annotated[int, Int(3, 40, log=True)] = 10
    patience: Annotated[int, Int(2, 10)] = 3


@dataclass(frozen=True, eq=False)
class Teacher:
    """The targets of a fold as a net needs them, and the way it is trained.

    classes: None for numbers.  y: codes among the seen classes, or numbers.  judged: validation rows that can be judged;
    y_valid: theirs.  bounds: range of a numeric target.
    """

    config: Training
    ctx: TrialContext
    classes: Classes | None
    n_outputs: int
    y: np.ndarray
    weight: np.ndarray
    judged: np.ndarray
    y_valid: np.ndarray
    weight_valid: np.ndarray | None
    batch: int
    bounds: tuple[float, float]

    @staticmethod
    def of(config: Training, data: Split, ctx: TrialContext) -> Teacher:
        classes = None if data.target.is_regression else Classes.of(data)
        judged = np.ones(len(data.y_valid), bool) if classes is None else classes.known(data.y_valid)
        y_valid = data.y_valid[judged]
        weight = np.ones(len(data.y)) if data.weight is None else data.weight / data.weight.mean()
        return Teacher(
            config, ctx, classes,
            n_outputs=1 if classes is None else classes.n_seen,
            y=data.y if classes is None else classes.codes(data.y),
            weight=weight,
            judged=judged,
            y_valid=y_valid if classes is None else classes.codes(y_valid),
            weight_valid=None if data.weight_valid is None else data.weight_valid[judged],
            batch=max(16, min(config.batch_size, len(data.y) // 6)),
            bounds=(float(data.y.min()), float(data.y.max())) if classes is None else (0.0, 0.0),
        )  # fmt: skip

    def told(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Targets and weights of training rows."""
        import torch

        kind = torch.float32 if self.classes is None else torch.int64
        y = torch.as_tensor(self.y[rows], dtype=kind, device=self.ctx.device)
        return y, torch.as_tensor(self.weight[rows], dtype=torch.float32, device=self.ctx.device)

    def train(
        self,
        net: torch.nn.Module,
        batches: Callable[[int], Iterable[tuple[Any, Any]]],
        answer: Callable[[torch.nn.Module], np.ndarray],
    ) -> None:
        """Train in place; the net is left with its best epoch.

        batches(epoch): (inputs, `told` of their rows).  answer: logits or numbers for the judged validation rows.  The
        score is minus the log-loss, or minus the squared error of the scaled target.
        """
        import torch

        from assay.training.loop import LoopPlan, fit_module
        from assay.training.losses import Loss, class_loss, target_loss
        from assay.training.optim import Rule

        config, ctx = self.config, self.ctx
        losses: Any
        if self.classes is None:
            losses = target_loss([Loss(config.regression_loss, delta=config.delta)], ctx.device, torch.float32)
        else:
            share = np.bincount(self.y, self.weight, self.n_outputs)[None] / self.weight.sum()
            smooth = Loss(config.classification_loss, smoothing=config.smoothing)
            losses = class_loss([smooth], share, ctx.device, torch.float32)

        def loss(module: torch.nn.Module, given: tuple[Any, Any]) -> torch.Tensor:
            y, weight = given[1]
            rows = losses.rows(module(given[0])[None, :, None], y[None])[0]
            mean: torch.Tensor = (rows * weight).mean()
            return mean

        rate = config.learning_rate if config.optimizer in ADAPTIVE else config.sgd_learning_rate
        decay = config.weight_decay if config.optimizer == "adamw" else config.l2
        momentum = config.momentum if config.optimizer in ("momentum", "nesterov") else 0.0
        rule = Rule(config.optimizer, rate, momentum=momentum, weight_decay=decay)
        plan = LoopPlan(rule, config.epochs, config.schedule, config.patience, CLIP)
        fit_module(net, batches, loss, lambda m: self._score(answer(m)), -(-len(self.y) // self.batch), plan, ctx)

    def _score(self, z: np.ndarray) -> float:
        if not len(z):
            return 0.0
        if self.classes is None:
            return -float(np.average((np.clip(z[:, 0], *self.bounds) - self.y_valid) ** 2, weights=self.weight_valid))
        top = z.max(1)
        log_p = z[np.arange(len(z)), self.y_valid] - top - np.log(np.exp(z - top[:, None]).sum(1))
        clipped = np.where(np.isnan(log_p), log_p, np.maximum(log_p, -16.0))  # NaN passes on: the loop must see it
        return float(np.average(clipped, weights=self.weight_valid))


@dataclass(frozen=True, eq=False)
class NetPredictor:
    """A trained net.  start: of its view in the matrix; width: of the view."""

    net: TextNet
    start: int
    width: int
    classes: Classes | None
    bounds: tuple[float, float]

    def predict(self, x: np.ndarray) -> np.ndarray:
        from scipy.special import softmax

        z = self.answers(x)
        if self.classes is None:
            return np.asarray(np.clip(z, *self.bounds))
        return self.classes.spread(np.asarray(softmax(z, axis=1)))

    def answers(self, x: np.ndarray) -> np.ndarray:
        """Logits or numbers."""
        return net_answers(self.net, np.asarray(x)[:, self.start : self.start + self.width])

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        ends = [scope.const(np.array([v], np.int64)) for v in (self.start, self.start + self.width, 1)]
        ids = scope.add("Cast", scope.add("Slice", x, *ends), to=7)
        z = self.net.emit(scope, ids, self.width)
        if self.classes is None:
            return scope.graph(scope.add("Clip", z, *(scope.const(np.float32(b)) for b in self.bounds)))
        return scope.graph(self.classes.add_spread(scope, scope.add("Softmax", z, axis=1)))


def fit_net(
    config: Training, data: Split, ctx: TrialContext, view: str, make: Callable[[int, int, int], TextNet]
) -> Predictor:
    """Train on one fold and answer with the best epoch.

    view: which token numbers to read.  make: (vocabulary size, width, outputs) -> net.  Raises Diverged.
    """
    import torch

    blocks = [b for b in data.x.blocks if b.view == view] if isinstance(data.x, Tokens) else []
    if not blocks or not np.any(data.y != data.y[0]):
        return Constant(prior(data.target, data.y, data.weight))
    if ctx.seconds_left() <= 0:
        raise TrialStopped
    start, width = blocks[0].start, blocks[-1].end - blocks[0].start
    ids, ids_valid = (np.asarray(x)[:, start : start + width] for x in (data.x, data.x_valid))
    teacher = Teacher.of(config, data, ctx)
    torch.manual_seed(ctx.seed)
    torch.set_num_threads(ctx.threads)
    net = make(int(ids.max(initial=1)) + 1, width, teacher.n_outputs)
    lengths = _lengths(ids)

    def batches(epoch: int) -> Iterator[tuple[Any, Any]]:
        for rows in _buckets(lengths, teacher.batch, np.random.default_rng([ctx.seed, epoch])):
            yield torch.from_numpy(_trimmed(ids[rows])).to(ctx.device), teacher.told(rows)

    judged = ids_valid[teacher.judged]
    teacher.train(net, batches, lambda module: net_answers(module, judged, ctx.device))
    return NetPredictor(net.cpu(), start, width, teacher.classes, teacher.bounds)


def net_answers(net: torch.nn.Module, ids: np.ndarray, device: str = "cpu") -> np.ndarray:
    """Logits or numbers of a net in evaluation mode, texts of like length together.  float32 (n, k)."""
    import torch

    order = np.argsort(_lengths(ids), kind="stable")
    net.eval()
    parts = []
    with torch.inference_mode():
        for i in range(0, max(1, len(ids)), CHUNK):
            rows = order[i : i + CHUNK]
            parts.append(net(torch.from_numpy(_trimmed(ids[rows])).to(device)).cpu().numpy())
    joined = np.concatenate(parts)
    out = np.empty_like(joined)
    out[order] = joined
    return out


def _lengths(ids: np.ndarray) -> np.ndarray:
    """Columns of each row up to its last token."""
    told = ids > 0
    return np.where(told.any(1), ids.shape[1] - told[:, ::-1].argmax(1), 0)


def _trimmed(ids: np.ndarray) -> np.ndarray:
    """int64, without columns that no row uses (but one)."""
    return np.ascontiguousarray(ids[:, : max(1, int(_lengths(ids).max(initial=1)))], np.int64)


def _buckets(lengths: np.ndarray, batch: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Shuffled rows in batches of like length: sorted within stretches of 16 batches, batches shuffled."""
    order = rng.permutation(len(lengths))
    found: list[np.ndarray] = []
    for i in range(0, len(order), 16 * batch):
        stretch = order[i : i + 16 * batch]
        stretch = stretch[np.argsort(lengths[stretch], kind="stable")]
        found += [stretch[j : j + batch] for j in range(0, len(stretch), batch)]
    yield from (found[i] for i in rng.permutation(len(found)))
