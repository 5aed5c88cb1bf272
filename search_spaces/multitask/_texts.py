"""How nets over texts with several targets are trained: batches of one target each, then a fine-tuning for each."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from assay.data.texts import Tokens
from assay.errors import TrialStopped
from assay.families import Cost, Shape, Split, TrialContext
from assay.model.graph import Graph, Scope
from assay.space import Choice, Float, Int, When
from search_spaces.multitask._training import ADAPTIVE, Training, losses_of

if TYPE_CHECKING:
    import torch

    from assay.multitask.teach import Units
    from assay.nn.mt_dnn import MtDnn, TextHead
    from assay.training.loop import LoopPlan

CHUNK = 256  # rows predicted in one pass
CLIP = 1.0  # largest norm of a gradient
GAIN = 1e-4  # of skill: a fine-tuned copy that brings less is not worth its size
VIEW = "pieces"


@dataclass(frozen=True)
class Reading(Training):
    """d: width, d / 32 heads of attention.  layers: each self-attention and a feed-forward part of twice the width.  pairs:
    two texts are read "apart" and compared, or "together" as one sequence."""

    learning_rate: Annotated[float, Float(2e-4, 1e-2, log=True), When("optimizer", *ADAPTIVE)] = 2e-3
    weight_decay: Annotated[float, Float(1e-5, 0.3, log=True), When("optimizer", "adamw")] = 0.02
    dropout: Annotated[float, Float(0.0, 0.6)] = 0.3
    batch_size: Annotated[int, Choice(16, 32, 64)] = 32
    epochs: Annotated[int, Int(3, 40, log=True)] = 12
    patience: Annotated[int, Int(2, 10)] = 4
    pairs: Annotated[str, Choice("apart", "together")] = "apart"
    d: Annotated[int, Choice(64, 96, 128)] = 64
    layers: Annotated[int, Int(0, 3)] = 1


def cost_of(config: Reading, shape: Shape, rounds: float) -> Cost:
    """rounds: how often the rows are gone through, as a multiple of the epochs."""
    work = 32 * max(1, config.layers) * (8 * config.d**2 + 64 * config.d)
    steps = shape.n_rows / config.batch_size
    seconds = config.epochs * rounds * (shape.n_rows * work * 2.5e-10 + steps * (6e-3 + 6e-3 * config.layers))
    rows = config.batch_size * 128 * max(1, config.layers) * (14 * config.d + 4 * 128 * config.d // 32) * 8
    return Cost(0.2 + seconds, int(shape.n_rows * 1_500 + rows + 3_000 * config.d * 24 + 6e7))


class Lessons:
    """A fold as nets over texts need it."""

    def __init__(self, config: Reading, data: Split, ctx: TrialContext) -> None:
        import torch

        from assay.multitask.targets import MultiTarget, Truth
        from assay.multitask.teach import Lesson
        from assay.multitask.texts import reads_of
        from assay.nn.mt_dnn import TextHead

        truth, truth_valid, x = data.y, data.y_valid, data.x
        assert isinstance(truth, Truth) and isinstance(truth_valid, Truth) and isinstance(x, Tokens)
        assert isinstance(data.target, MultiTarget)
        torch.set_num_threads(ctx.threads)
        self.config, self.ctx, self.truth, self.weight = config, ctx, truth, data.weight
        blocks = [b for b in x.blocks if b.view == VIEW]
        self.spans = tuple((b.start, b.end) for b in blocks)
        self.ids, self.ids_valid = (
            [np.asarray(m)[:, a:b].astype(np.int64) for a, b in self.spans] for m in (x, data.x_valid)
        )
        self.size = max(int(ids.max(initial=1)) for ids in self.ids) + 1
        self.lesson = Lesson.of(truth, data.weight, truth_valid, data.weight_valid, ctx.device)
        self.reads = reads_of(data.target, len(blocks))
        self.heads: tuple[TextHead, ...] = tuple(
            TextHead(r.columns, t.width) for r, t in zip(self.reads, truth.targets, strict=True)
        )
        self.rows = [truth.column(i)[0] for i in range(len(truth.targets))]
        self.lengths = np.maximum.reduce([_lengths(ids) for ids in self.ids])

    def net(self) -> MtDnn:
        import torch

        from assay.nn.mt_dnn import MtDnn, TextSizes

        torch.manual_seed(self.ctx.seed)
        c = self.config
        widths = tuple(b - a for a, b in self.spans)
        return MtDnn(TextSizes(self.size, widths, c.d, c.layers, c.dropout, c.pairs), self.heads)

    def batch(self, rows: np.ndarray, i: int) -> tuple[Any, Any]:
        """Inputs and truths of target number i."""
        import torch

        at = torch.from_numpy(rows)
        return (_trimmed([ids[rows] for ids in self.ids]), i), (
            self.lesson.y[at][:, i : i + 1],
            self.lesson.weight[at],
            rows,
        )


class Taught:
    """A net with the losses of its targets, as one module."""

    def __init__(self, lessons: Lessons, net: MtDnn) -> None:
        import torch

        from assay.multitask.teach import MultiLoss

        losses = losses_of(lessons.config)
        each = [
            MultiLoss(lessons.truth.only(i), lessons.weight, replace(losses, weighing="equal"))
            for i in range(len(lessons.heads))
        ]
        self.lessons = lessons
        self.module = torch.nn.Module()
        self.module.net, self.module.losses = net, torch.nn.ModuleList(each)
        learned = losses.weighing == "uncertainty"
        self.module.log_variance = torch.nn.Parameter(torch.zeros(len(each)), requires_grad=learned)

    def loss(self, module: Any, given: tuple[Any, Any]) -> torch.Tensor:
        import torch

        from assay.multitask.texts import RANKING

        (ids, i), (y, weight, rows) = given
        raw = module.net(ids, i)
        value = module.losses[i](raw, y, weight)
        if self.lessons.reads[i].way == RANKING:
            value = 0.5 * (value + listwise(raw[:, 1] - raw[:, 0], y[:, 0], self._questions(rows, i)))
        s = module.log_variance[i]
        found: torch.Tensor = torch.exp(-s) * value + s if s.requires_grad else value
        return found

    def _questions(self, rows: np.ndarray, i: int) -> np.ndarray:
        first = self.lessons.ids[self.lessons.reads[i].columns[0]][rows]
        return np.asarray(np.unique(first, axis=0, return_inverse=True)[1]).ravel()


def listwise(scores: torch.Tensor, y: torch.Tensor, groups: np.ndarray) -> torch.Tensor:
    """Softmax over the candidates of a question, of the good ones: minus the log of its mean share (Liu et al., 2019)."""
    import torch

    at = torch.from_numpy(groups)
    same = at[:, None] == at[None]
    log_p = scores - torch.where(same, scores[None], -1e9).logsumexp(1)
    useful = (y > 0) & (torch.where(same, y[None], 1.0).amin(1) < 0.5)  # a question of good ones alone orders nothing
    count = useful.sum()
    return -(log_p * useful).sum() / count.clamp_min(1)


def fit_together(lessons: Lessons, net: MtDnn, damping: float, share: float) -> None:
    """All targets at once: each batch is of one, drawn in proportion to its number of labels to the power of `damping`."""
    taught = Taught(lessons, net)
    sizes = np.array([len(r) for r in lessons.rows], np.float64)
    chances = sizes**damping / (sizes**damping).sum()
    batch = lessons.config.batch_size
    steps = max(1, int(np.ceil(sizes / batch).sum()))

    def batches(epoch: int) -> Iterator[tuple[Any, Any]]:
        rng = np.random.default_rng([lessons.ctx.seed, epoch])
        streams = [endless(lessons, i, rng) for i in range(len(sizes))]
        for i in rng.choice(len(sizes), steps, p=chances):
            yield lessons.batch(next(streams[i]), int(i))

    _fit(lessons, taught, batches, steps, loop_of(lessons.config), share, None)


def fit_one(lessons: Lessons, net: MtDnn, i: int, share: float, rate: float = 1.0, epochs: int | None = None) -> float:
    """One target alone.  Returns its best skill on the validation rows."""
    taught = Taught(lessons, net)
    plan = loop_of(lessons.config)
    plan = replace(
        plan, rule=replace(plan.rule, learning_rate=plan.rule.learning_rate * rate), epochs=epochs or plan.epochs
    )
    n, batch = len(lessons.rows[i]), lessons.config.batch_size
    steps = max(1, -(-n // batch))

    def batches(epoch: int) -> Iterator[tuple[Any, Any]]:
        stream = endless(lessons, i, np.random.default_rng([lessons.ctx.seed, epoch, i]))
        for _ in range(steps):
            yield lessons.batch(next(stream), i)

    return _fit(lessons, taught, batches, steps, plan, share, i)


def endless(lessons: Lessons, i: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches of a target's rows, of like length, all of them before any comes again; candidates of a question together."""
    from assay.multitask.texts import RANKING

    rows, batch = lessons.rows[i], lessons.config.batch_size
    if lessons.reads[i].way == RANKING:
        ids = lessons.ids[lessons.reads[i].columns[0]][rows]
        groups = np.unique(ids, axis=0, return_inverse=True)[1].ravel()
        while True:
            place = rng.permutation(int(groups.max()) + 1)
            order = rows[np.lexsort((rng.random(len(rows)), place[groups]))]
            yield from (order[j : j + batch] for j in range(0, len(order), batch))
    while True:
        order = rng.permutation(rows)
        found: list[np.ndarray] = []
        for j in range(0, len(order), 16 * batch):
            stretch = order[j : j + 16 * batch]
            stretch = stretch[np.argsort(lessons.lengths[stretch], kind="stable")]
            found += [stretch[k : k + batch] for k in range(0, len(stretch), batch)]
        yield from (found[j] for j in rng.permutation(len(found)))


def loop_of(config: Reading) -> LoopPlan:
    from search_spaces.multitask._training import loop_of as plain

    return replace(plain(config), clip=CLIP)


def skills_of(lessons: Lessons, net: MtDnn, wanted: Sequence[int]) -> np.ndarray:
    """Of the wanted targets on the validation rows; NaN where there is nothing to be told."""
    from assay.metrics.multitask import skills
    from assay.multitask.targets import spans

    truth = lessons.lesson.truth_valid
    raw = np.zeros((len(truth), sum(h.outputs for h in lessons.heads)), np.float32)
    places = spans(lessons.truth.targets)
    for i, found in raw_answers(net, lessons.ids_valid, wanted).items():
        raw[:, places[i]] = found
    if not np.isfinite(raw).all():
        return np.full(len(wanted), np.nan)
    told = skills(truth, lessons.lesson.units.answers(raw), lessons.lesson.weight_valid)
    return np.asarray(told[list(wanted)])


def raw_answers(net: MtDnn, ids: Sequence[np.ndarray], wanted: Sequence[int]) -> dict[int, np.ndarray]:
    """Raw answers of heads for all rows, each text read once."""
    import torch

    net.eval()
    n = len(ids[0])
    parts: dict[int, list[np.ndarray]] = {i: [] for i in wanted}
    with torch.inference_mode():
        for j in range(0, max(1, n), CHUNK):
            texts = _trimmed([i[j : j + CHUNK] for i in ids])
            read: dict[int, Any] = {}
            for i in wanted:
                if net.sizes.pairs == "apart" or not net.specs[i].is_pair:
                    missing = [c for c in net.specs[i].columns if c not in read]
                    read |= {c: net.encode(texts[c : c + 1]) for c in missing}
                parts[i].append(net.answer(read, texts, i).cpu().numpy())
    return {i: np.concatenate(p) for i, p in parts.items()}


@dataclass(frozen=True, eq=False)
class TextPredictor:
    """nets: the net that answers each target, in order; most are one and the same.  spans: of the texts in a row."""

    nets: tuple[MtDnn, ...]
    spans: tuple[tuple[int, int], ...]
    units: Units

    def predict(self, x: np.ndarray) -> np.ndarray:
        ids = [np.asarray(x)[:, a:b].astype(np.int64) for a, b in self.spans]
        found: dict[int, np.ndarray] = {}
        for net, wanted in self._groups():
            found |= raw_answers(net, ids, wanted)
        return self.units.answers(np.concatenate([found[i] for i in range(len(self.nets))], axis=1))

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        ids = []
        for a, b in self.spans:
            ends = [scope.const(np.array([v], np.int64)) for v in (a, b, 1)]
            ids.append(scope.add("Cast", scope.add("Slice", x, *ends), to=7))
        found: dict[int, str] = {}
        for net, wanted in self._groups():
            found |= dict(zip(wanted, net.emit(scope, ids, wanted), strict=True))
        raw = [found[i] for i in range(len(self.nets))]
        return scope.graph(self.units.emit(scope, raw[0] if len(raw) == 1 else scope.add("Concat", *raw, axis=1)))

    def _groups(self) -> list[tuple[MtDnn, list[int]]]:
        found: dict[int, tuple[MtDnn, list[int]]] = {}
        for i, net in enumerate(self.nets):
            found.setdefault(id(net), (net, []))[1].append(i)
        return list(found.values())


def copied(net: MtDnn) -> MtDnn:
    return copy.deepcopy(net)


def _fit(
    lessons: Lessons, taught: Taught, batches: Any, steps: int, plan: LoopPlan, share: float, only: int | None
) -> float:
    """only: the one target that is judged; its scores are not told, since they compare with nothing."""
    from assay.training.loop import fit_module

    wanted = list(range(len(lessons.heads))) if only is None else [only]

    def score(module: Any) -> float:
        told = skills_of(lessons, module.net, wanted)
        told = told[~np.isnan(told)] if not np.isnan(told).all() or only is not None else told
        return float(told.mean()) if len(told) else 0.0

    fitted = fit_module(
        taught.module, batches, taught.loss, score, steps, plan, Part(lessons.ctx, share, quiet=only is not None)
    )
    return fitted.score


class Part:
    """The context of a part of a fit: a share of the time that is left.  quiet: it only looks whether it must stop."""

    def __init__(self, ctx: TrialContext, share: float, quiet: bool) -> None:
        self.device, self.rng, self.seed, self.threads = ctx.device, ctx.rng, ctx.seed, ctx.threads
        self.max_steps = ctx.max_steps
        self._ctx, self._quiet = ctx, quiet
        left = ctx.seconds_left()
        self._until = math.inf if math.isinf(left) else time.monotonic() + share * left

    def report(self, step: int, score: float) -> None:
        if not self._quiet:
            self._ctx.report(step, score)
        elif self._ctx.seconds_left() <= 0:
            raise TrialStopped

    def seconds_left(self) -> float:
        return self._until - time.monotonic()


def _lengths(ids: np.ndarray) -> np.ndarray:
    told = ids > 0
    return np.where(told.any(1), ids.shape[1] - told[:, ::-1].argmax(1), 0)


def _trimmed(ids: Sequence[np.ndarray]) -> list[torch.Tensor]:
    """Each column without places that no row uses (but one)."""
    import torch

    return [torch.from_numpy(np.ascontiguousarray(i[:, : max(1, int(_lengths(i).max(initial=1)))])) for i in ids]


def no_texts(data: Split) -> bool:
    """Whether the fold has no subwords to read."""
    return not isinstance(data.x, Tokens) or not any(b.view == VIEW for b in data.x.blocks)
