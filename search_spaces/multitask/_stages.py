"""How nets over pictures with several targets are trained: the stages, and the cache of what is frozen."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.errors import TrialStopped
from assay.families import Split, TrialContext
from search_spaces.detection._training import rule_of, shrink_of
from search_spaces.multitask._pictures import CACHE_BYTES, Pictured

if TYPE_CHECKING:
    import torch

    from assay.multitask.pictures import PictureTarget
    from assay.nn.mmd_net import MmdNet

CACHE_SHARE = 0.25  # of the time left, that making frozen features may take
MOST_VIEWS = 8  # of a picture
TINY = 64  # pixels of the side up to which pictures are not what the pretrained weights have seen
MIRROR_SIDE = 64  # pictures are looked at so large to see whether mirrored ones keep their class


class Lessons:
    """A fold as the stages need it: tensors of pictures, columns and truths, at the size that the net sees."""

    def __init__(self, config: Pictured, data: Split, ctx: TrialContext) -> None:
        import torch

        from assay.multitask.pictures import CHUNK, labels_of, masks_of
        from assay.multitask.seen import Seen
        from assay.multitask.teach import Lesson
        from assay.nn.images.weights import installed
        from assay.vision.augment import Moves
        from assay.vision.training import channels_first

        torch.set_num_threads(ctx.threads)
        torch.manual_seed(ctx.seed)
        self.config, self.ctx = config, ctx
        self.steps, self.label_skill = 0, 0.0  # of the stages so far
        self.stopped = False
        self._kept: Kept | None = None
        target: Any = data.target
        self.target: PictureTarget = target
        seen, seen_valid = data.x, data.x_valid
        assert isinstance(seen, Seen) and isinstance(seen_valid, Seen)
        self.side = seen.pixels.shape[1]
        self.shrink = shrink_of(config, self.side)
        tiny = self.side // self.shrink <= TINY
        self.backbone = "own" if config.backbone == "own" or not installed() else "pretrained"
        self.backbone = "own" if config.backbone == "auto" and tiny else self.backbone
        self.x = channels_first(seen.pixels, self.shrink)
        self.beside = torch.from_numpy(np.ascontiguousarray(seen.beside, np.float32))
        self.valid_rows = list(data.y_valid)
        rows = list(data.y)
        self.truth = labels_of(rows, self.target)
        small = channels_first(seen_valid.pixels, self.shrink)
        aside = torch.from_numpy(np.ascontiguousarray(seen_valid.beside, np.float32))
        self.valid_parts = list(zip(small.split(CHUNK), aside.split(CHUNK), strict=True))
        self.valid_seen: dict[int, Any] = {}
        self.valid_net: MmdNet | None = None
        self.lesson = Lesson.of(self.truth, None, labels_of(self.valid_rows, self.target), None)
        k = self.shrink
        square = masks_of(rows, self.target)
        self.masks = torch.from_numpy(np.ascontiguousarray(square[:, k // 2 :: k, k // 2 :: k]))
        self.told = np.flatnonzero(~np.isnan(np.asarray(self.truth)).all(1)) if self.target.labels else np.arange(0)
        self.drawn = np.flatnonzero([r.mask is not None for r in rows]) if self.target.mask else np.arange(0)
        self.weight = (
            _class_weights(square, len(self.target.mask.classes), config.balance) if self.target.mask else None
        )
        flip = config.flip if config.mirror == "on" or (config.mirror == "auto" and self._mirrors(seen)) else 0.0
        self.moves = Moves(flip, config.zoom, config.colour)

    def net(self, labels: bool = True, mask: bool = True) -> MmdNet:
        """A fresh one with these heads.  Its size depends on them in nothing but the heads."""
        import torch

        from assay.nn.mmd_net import MmdNet, Sizes

        torch.manual_seed(self.ctx.seed)
        classes = len(self.target.mask.classes) if self.target.mask and mask else 0
        c = self.config
        net = MmdNet(
            Sizes(self.side, self.shrink, self.beside.shape[1], self.target.width if labels else 0, classes, c.width,
                  c.blocks, c.hidden, c.dropout, self.backbone)
        )  # fmt: skip
        net.fit_descriptors(self.x[:: max(1, len(self.x) // 500)])
        return net

    def batch(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[Any, Any]:
        """Moved pictures, and (columns, labels, masks) of them."""
        import torch

        from assay.vision.augment import moved_masks

        pictures, masks = moved_masks(self.x, self.masks, rows, self.moves, rng)
        at = torch.from_numpy(rows)
        return pictures, (self.beside[at], self.lesson.y[at], masks)

    def kept(self, net: MmdNet) -> Kept:
        """The cache of a net's frozen backbone."""
        if self._kept is None or self._kept.net is not net:
            self._kept = Kept(self, net, self.config.views)
        return self._kept

    def _mirrors(self, seen: Any) -> bool:
        """Whether mirrored pictures keep the first class that is told; masks alone move with the picture."""
        from assay.families import Target
        from search_spaces.image._nets import mirror_keeps_classes

        first = next((i for i, t in enumerate(self.target.labels) if t.classes), None)
        if first is None:
            return True
        rows, y = self.truth.column(first)
        k = max(1, self.side // MIRROR_SIDE)
        x = seen.pixels[rows][:, ::k, ::k]
        target = Target("multiclass", len(self.target.labels[first].classes))
        return mirror_keeps_classes(Split(x, y, x[:0], y[:0], target))


def fit_labels(lessons: Lessons, net: MmdNet, share: float, rate: float = 1.0, guide: float = 0.0) -> None:
    """Stage one: everything that tells of the whole picture; a frozen backbone's part comes out of the cache.  share: of
    the time left.  guide: weight of what the backbone's own maps tell of the masks, while it learns."""
    from assay.nn.conv2d import TORCH

    if not len(lessons.told):
        return
    loss = _label_loss(lessons)
    kept = lessons.kept(net) if net.backbone in net.fixed else None
    guide = guide if kept is None and len(net.guides) and len(lessons.drawn) else 0.0

    def of(pictures: Any, told: tuple[Any, ...]) -> Any:
        beside, y, masks = told
        seen = beside if kept is not None else net.seen(TORCH, pictures, beside)
        value = loss(net.told(TORCH, net.aside(TORCH, seen)), y, _ones(y))
        return value + guide * net.guided(seen.maps, masks) if guide else value

    batch = lessons.batch if kept is None else kept.batch
    rows = np.union1d(lessons.told, lessons.drawn) if guide else lessons.told
    _train(lessons, net, loss, rows, batch, of, share, rate, ("told",))


def fit_masks(lessons: Lessons, net: MmdNet, share: float, rate: float = 1.0) -> None:
    """Stage two: the segmentation net; what is frozen of the net stays so, and its part comes out of the cache."""
    from assay.nn.conv2d import TORCH
    from assay.vision.losses import mask_loss

    if not len(lessons.drawn):
        return
    kept = lessons.kept(net) if net.backbone in net.fixed else None

    def of(pictures: Any, told: tuple[Any, ...]) -> Any:
        beside, _, masks = told
        seen = beside if kept is not None else net.seen(TORCH, pictures, beside)
        logits = net.mask(TORCH, pictures, net.aside(TORCH, seen))
        return mask_loss(logits, masks, lessons.weight, lessons.config.dice, 0.0)

    batch = lessons.batch if kept is None else kept.batch
    _train(lessons, net, None, lessons.drawn, batch, of, share, rate, ("mask",))


def fit_together(lessons: Lessons, net: MmdNet, share: float, rate: float = 1.0) -> None:
    """All sub-networks that are not frozen at once, the losses weighed as the configuration says."""
    import torch

    from assay.nn.conv2d import TORCH
    from assay.vision.losses import mask_loss

    loss, c = _label_loss(lessons), lessons.config
    mask = lessons.target.mask
    base = math.log(max(2, len(mask.classes))) + c.dice if mask else 1.0
    log_variance = torch.nn.Parameter(torch.zeros(2), requires_grad=c.weighing == "uncertainty")
    kept = lessons.kept(net) if net.backbone in net.fixed else None

    def of(pictures: Any, told: tuple[Any, ...]) -> Any:
        beside, y, masks = told
        seen = beside if kept is not None else net.seen(TORCH, pictures, beside)
        found = net.aside(TORCH, seen)
        own = []
        if net.heads is not None:
            own.append(loss(net.told(TORCH, found), y, _ones(y)))
        if net.segmenter is not None:
            own.append(mask_loss(net.mask(TORCH, pictures, found), masks, lessons.weight, c.dice, 0.0) / base)
        each = torch.stack(own)
        s = log_variance[-len(own) :]
        return (torch.exp(-s) * each + s).mean() if c.weighing == "uncertainty" else each.mean()

    holder = torch.nn.Module()
    holder.loss, holder.log_variance = loss, log_variance
    rows = np.union1d(lessons.told, lessons.drawn)
    batch = lessons.batch if kept is None else kept.batch
    _train(lessons, net, holder, rows, batch, of, share, rate, ("told", "mask"))


class Kept:
    """What a frozen backbone makes of moved pictures, each computed once: view v of a picture is moved the same way every
    time."""

    def __init__(self, lessons: Lessons, net: MmdNet, views: int) -> None:
        self.lessons, self.net = lessons, net
        seen = lessons.x.shape[-1]
        one = 2 * sum(m * (seen // s) ** 2 for m, s in zip(net.backbone.channels, (4, 8, 16), strict=False))
        one += 4 * seen * seen + 4 * (net.backbone.summary + len(net.mean))
        self.views = max(1, min(views, CACHE_BYTES // max(1, one * len(lessons.x))))
        self._timed = False
        self._store: dict[int, tuple[Any, ...]] = {}

    def batch(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[Any, Any]:
        """Moved pictures, and (what is seen of them, labels, masks)."""
        import torch

        from assay.nn.mmd_net import Seen

        view = int(rng.integers(self.views))
        new = [int(r) for r in rows if int(r) * MOST_VIEWS + view not in self._store]
        if new:
            self._compute(np.array(new), view, np.random.default_rng([self.lessons.ctx.seed, view, new[0]]))
        found = [self._store[int(r) * MOST_VIEWS + view] for r in rows]
        pictures, masks, pooled, described = (torch.stack([f[i] for f in found]) for i in range(4))
        maps = [torch.stack([f[4][i] for f in found]).float() for i in range(len(found[0][4]))]
        y = self.lessons.lesson.y[torch.from_numpy(np.ascontiguousarray(rows))]
        return pictures.float(), (Seen(maps, pooled, described), y, masks.long())

    def _compute(self, rows: np.ndarray, view: int, rng: np.random.Generator) -> None:
        import torch

        from assay.nn.conv2d import TORCH

        began = time.monotonic()
        pictures, (beside, _, masks) = self.lessons.batch(rows, rng)
        pictures = pictures.round().to(torch.uint8)
        with torch.no_grad():
            found = self.net.seen(TORCH, pictures.float(), beside)
        maps = [m.half() for m in found.maps]
        for i, r in enumerate(rows.tolist()):
            own = pictures[i], masks[i].to(torch.uint8), found.pooled[i], found.described[i], tuple(m[i] for m in maps)
            self._store[r * MOST_VIEWS + view] = own
        left = self.lessons.ctx.seconds_left()
        if not self._timed and math.isfinite(left):
            all_of_one = (time.monotonic() - began) / len(rows) * len(self.lessons.x)
            self.views = max(1, min(self.views, int(CACHE_SHARE * left / max(1e-6, all_of_one))))
        self._timed = True


def scored(lessons: Lessons, net: MmdNet, taught: tuple[str, ...]) -> float:
    """Mean skill over the targets of the validation pictures; a head that no one answers yet counts as a constant."""
    from assay.multitask.pictures import masks_of, skill

    target = lessons.target
    told, masks = _validated(lessons, net, taught)
    if told is not None:
        lessons.label_skill = _mean_skill(lessons, lessons.lesson.units.answers(told))
    mask_skill = 0.0
    if masks is not None:
        mask_skill = skill(masks_of(lessons.valid_rows, target), masks)
        mask_skill = 0.0 if math.isnan(mask_skill) else mask_skill
    return (len(target.labels) * lessons.label_skill + mask_skill) / len(target.heads)


def _validated(lessons: Lessons, net: MmdNet, taught: tuple[str, ...]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Raw answers and masks of the validation pictures; what a frozen backbone makes of them is computed once."""
    from assay.nn.conv2d import TORCH

    net.eval()
    told, masks = [], []
    tells, draws = "told" in taught and net.heads is not None, "mask" in taught and net.segmenter is not None
    for i, (pictures, beside) in enumerate(lessons.valid_parts):
        seen = lessons.valid_seen.get(i) if net.backbone in net.fixed and lessons.valid_net is net else None
        if seen is None:
            seen = net.seen(TORCH, pictures.float(), beside)
            if net.backbone in net.fixed:
                lessons.valid_seen[i], lessons.valid_net = seen, net
        found = net.aside(TORCH, seen)
        if tells:
            told.append(net.told(TORCH, found).numpy())
        if draws:
            logits = net.mask(TORCH, pictures.float(), found)
            logits = TORCH.grown(logits, lessons.shrink) if lessons.shrink > 1 else logits
            masks.append(logits.argmax(1).numpy().astype(np.uint8))
    return np.concatenate(told) if told else None, np.concatenate(masks) if masks else None


def _mean_skill(lessons: Lessons, told: np.ndarray) -> float:
    from assay.metrics.multitask import skills

    if not np.isfinite(told).all():
        return math.nan
    found = skills(lessons.lesson.truth_valid, told, None)
    found = found[~np.isnan(found)]
    return float(found.mean()) if len(found) else 0.0


def _label_loss(lessons: Lessons) -> Any:
    from assay.multitask.teach import Losses, MultiLoss
    from assay.training.losses import Loss

    c = lessons.config
    smoothing = 0.0 if c.classification_loss == "cross_entropy" else c.smoothing
    losses = Losses(Loss(c.classification_loss, smoothing), Loss(c.regression_loss, delta=c.delta), c.weighing)
    return MultiLoss(lessons.truth, None, losses)


def _ones(y: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.ones(len(y))


def _train(
    lessons: Lessons, net: MmdNet, more: Any, rows: np.ndarray, batch: Any, loss: Any, share: float, rate: float,
    taught: tuple[str, ...],
) -> None:  # fmt: skip
    """One stage.  more: a module whose parameters learn as well.  taught: what is judged, "told" and "mask"."""
    import torch

    from assay.vision.training import Plan, train

    c = lessons.config
    if lessons.stopped:
        return
    holder = torch.nn.ModuleDict({"net": net} | ({"more": more} if more is not None else {}))
    rule = rule_of(c)
    rule = replace(rule, learning_rate=rule.learning_rate * rate)
    try:
        train(
            holder, len(rows), lambda at, rng: batch(rows[at], rng), loss, lambda _: scored(lessons, net, taught),
            Plan(rule, c.schedule, c.epochs, c.batch_size), Stage(lessons, share), len(lessons.valid_rows),
        )  # fmt: skip
    except TrialStopped:  # no time at all: what was learned before is still an answer
        if not lessons.steps:
            raise
        lessons.stopped = True


class Stage:
    """The context of one stage: a share of the time that is left, and steps that go on counting."""

    def __init__(self, lessons: Lessons, share: float) -> None:
        ctx = lessons.ctx
        self.device, self.rng, self.seed, self.threads = ctx.device, ctx.rng, ctx.seed, ctx.threads
        self._lessons, self._base = lessons, lessons.steps
        self.max_steps = max(1, ctx.max_steps - lessons.steps)
        left = ctx.seconds_left()
        self._until = math.inf if math.isinf(left) else time.monotonic() + share * left

    def report(self, step: int, score: float) -> None:
        self._lessons.steps = self._base + step
        try:
            self._lessons.ctx.report(self._lessons.steps, score)
        except TrialStopped:
            self._lessons.stopped = True  # no further stage begins
            raise

    def seconds_left(self) -> float:
        return self._until - time.monotonic()


def _class_weights(masks: np.ndarray, classes: int, balance: float) -> Any:
    from search_spaces.segmentation._training import _weights

    return _weights(masks, classes, balance)
