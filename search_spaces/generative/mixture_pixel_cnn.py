"""A mixture of Gaussians says what a picture shows, and a shallow gated PixelCNN writes it value by value.

Of larger pictures it writes every second, fourth or eighth place so; what lies between follows in a few steps (`_finer`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import numpy as np

from assay.families import Cost, Shape, TrialContext
from assay.generation.parts import Inputs, Pictures, Raster, at_last, cut, pick_logits, place
from assay.space import Choice, Float, Int
from search_spaces.generative._curves import CURVES, SAMPLED, as_seen, begin_curves, curve_nats, emit_curve, straight
from search_spaces.generative._roughness import roughness

if TYPE_CHECKING:
    from torch import Tensor, nn

    from assay.generation.pixels import Levels
    from assay.model.graph import Scope
    from search_spaces.generative._finer import Finer
    from search_spaces.generative._image_mixture import MixtureImages

HELD = 256
MOST_DIRECTIONS = 64
UP, SIDE = 3, 3  # values above and beside that are seen of what is written
AROUND = 2  # and of what the mixture shows, on every side
SHARE = 0.55  # of the time there is, for training; drawing value by value takes its own
WORTH = 150  # batches after which samples are better than the mixture's
CALMEST, CALM_SAMPLES = 0.6, 16
CALM_SHARE = 0.2  # of the time that must be left to look for the factor
JUDGED = 0.25  # of the time for fitting: how much there is after it, to draw and judge
TIMED, FEWER = 4, 8  # steps of drawing that are timed, and how many times fewer pictures
PER_EPOCH = 60  # batches between two looks at the held-out pictures, at most
RASTER = 2048  # values of a picture up to which there is time to write them one by one
SCALED_EPOCH = 30  # batches between two looks, of these
EVERY = 3  # of these batches teaches what lies between, too
HELD_PLACES = 1024  # of every group of places


@dataclass(frozen=True)
class MixturePixelConfig:
    """order: value by value in "raster" order, or every few places so and what lies between in "scales"; "auto" is the latter
    for pictures of more than 2,048 values.  writing: each of few values has a share of its own; of many, "shares" are those of
    32 levels, and "curves" mixtures of logistic ones over all 256; "auto" is the latter.  components, kept, ridge: of the
    mixture, see gaussian_mixture_images.  jitter: deviation of the noise on its point
    while training, in those of the data: the drawn points are not quite those of pictures."""

    order: Annotated[str, Choice("auto", "raster", "scales")] = "auto"
    writing: Annotated[str, Choice("auto", "shares", "curves")] = "auto"
    components: Annotated[int, Int(1, 60, log=True)] = 20
    kept: Annotated[float, Float(0.5, 0.97)] = 0.85
    ridge: Annotated[float, Float(1e-4, 1e-1, log=True)] = 3e-3
    jitter: Annotated[float, Float(0.0, 0.3)] = 0.05
    optimizer: Annotated[str, Choice("adam", "adamw", "rmsprop")] = "adamw"
    learning_rate: Annotated[float, Float(5e-4, 1e-2, log=True)] = 4e-3
    weight_decay: Annotated[float, Float(1e-6, 1e-1, log=True)] = 1e-3
    schedule: Annotated[str, Choice("constant", "cosine", "one_cycle", "flat_cos")] = "cosine"
    width: Annotated[int, Choice(48, 96)] = 48
    layers: Annotated[int, Int(1, 3)] = 1
    batch_size: Annotated[int, Choice(16, 32, 64)] = 32
    epochs: Annotated[int, Int(5, 150, log=True)] = 60


@dataclass(frozen=True, eq=False)
class WrittenMixture:
    """shape: of what is written value by value.  fillings: (L, FILLINGS) values a level stands for; (L, 1) where it is one.
    finer: what writes the places between, of whole pictures."""

    mixture: MixtureImages
    net: Any
    levels: Levels
    fillings: np.ndarray
    shape: tuple[int, int, int]
    scale: np.ndarray
    noise: int
    uniform: int
    curved: bool = False
    calm: float = 1.0  # factor of the curves' scales
    finer: Finer | None = None

    @property
    def steps(self) -> int:
        return int(np.prod(self.shape))

    def bits(self, data: Pictures) -> float:
        return float("nan")  # the mixture's point is a density, what is written shares

    def emit_step(self, inputs: Inputs, image: str, at: str) -> Raster:
        s, (size, _, channels), p = inputs.scope, self.shape, self.steps
        inner = self.mixture.points.emit(inputs)
        row = s.add("Div", at, s.const(np.int64(size * channels)))
        column = s.add("Mod", s.add("Div", at, s.const(np.int64(channels))), s.const(np.int64(size)))
        corner = s.add("Concat", row, column, axis=0)
        table = s.const(np.append(as_seen(np.arange(len(self.levels)), len(self.levels)), 0.0).astype(np.float32))
        written = s.add("Gather", table, self._written(s, image, row, column))
        written = s.add("Reshape", written, s.const([-1, (UP + 1) * (2 * SIDE + 1) * channels]))
        edge = ((0, 0), (AROUND, AROUND), (AROUND, AROUND), (0, 0))
        shown = np.concatenate([self.mixture.directions.T / 127.5, self.mixture.mean[None] / 127.5 - 1.0])
        wide = 2 * AROUND + 1
        around = s.add(
            "Slice", s.const(np.pad(shown.reshape(-1, *self.shape), edge).astype(np.float32)), corner,
            s.add("Add", corner, s.const([wide, wide])), s.const([1, 2]),
        )  # fmt: skip
        around = s.add("Reshape", around, s.const([len(shown), wide * wide * channels]))
        one = s.add("Sub", s.add("Add", cut(s, inner, 0, 1), s.const(np.float32(1))), cut(s, inner, 0, 1))
        shown_here = s.add("MatMul", s.add("Concat", inner, one, axis=1), around)
        found = self.net.emit(s, written, shown_here, s.add("Mul", inner, s.const(self.scale)), row, column)
        found = s.add("Reshape", found, s.const([-1, channels, 3 * CURVES if self.curved else len(self.levels)]))
        channel = s.add("Mod", at, s.const(np.int64(channels)))
        here = s.add("Squeeze", s.add("Gather", found, channel, axis=1), s.const([1]))
        which = inputs.u_at(1, at)
        if self.curved:
            code = emit_curve(s, here, which, inputs.u_at(1 + p, at), self.calm)
        else:
            code = pick_logits(s, here, which)
        flat = s.add("Reshape", image, s.const([-1, p]))
        is_here = s.add("Equal", s.const(np.arange(p, dtype=np.int64)[None]), at)
        flat = s.add("Where", is_here, s.add("Unsqueeze", code, s.const([1])), flat)
        after = s.add("Reshape", flat, s.const([-1, *self.shape]))
        k, size = self.fillings.shape[1], self.finer.size if self.finer else size
        index = at_last(s, after, at, p)
        if self.finer:
            own = at_last(s, inputs.u(self.uniform - self.finer.uniform, self.finer.uniform), at, p)
            index = self.finer.emit(inputs, index, own, self.calm)
        if k > 1:
            which = s.add(
                "Reshape", at_last(s, inputs.u(1 + p, size**2 * channels), at, p), s.const([-1, size, size, channels])
            )
            index = s.add("Add", s.add("Mul", index, s.const(np.int64(k))), place(s, which, s.const(np.float32(k))))
        return Raster(after, s.add("Gather", s.const(self.fillings.ravel()), index))

    def _written(self, s: Scope, image: str, row: str, column: str) -> str:
        """The codes above and beside a place, -1 beyond the edges, [N, UP + 1, 2 * SIDE + 1, C].  row, column: int64 [1].

        They are cut out first: an edge around whole pictures would copy them at every step."""
        one, nought = s.const([1]), s.const([0])

        def least_0(x: str) -> str:
            return s.add("Max", x, nought)

        above, beside = s.const([UP]), s.const([SIDE])
        end = s.add("Add", s.add("Add", column, beside), one)
        first = [least_0(s.add("Sub", row, above)), least_0(s.add("Sub", column, beside))]
        last = [s.add("Add", row, one), s.add("Min", end, s.const([self.shape[1]]))]
        found = s.add("Slice", image, *(s.add("Concat", *x, axis=0) for x in (first, last)), s.const([1, 2]))
        top, left = least_0(s.add("Sub", above, row)), least_0(s.add("Sub", beside, column))
        right = least_0(s.add("Sub", end, s.const([self.shape[1]])))
        edges = s.add("Concat", nought, top, left, nought, nought, nought, right, nought, axis=0)
        return s.add("Pad", found, edges, s.const(np.int64(-1)))


class MixturePixelCnn:
    name: ClassVar[str] = "mixture_pixel_cnn"
    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    lane: ClassVar[str] = "cpu"
    data: ClassVar[str] = "images"
    keeps_time: ClassVar[bool] = True
    Config: ClassVar[type] = MixturePixelConfig
    reference: ClassVar[str] = (
        "Kolesnikov, Lampert, PixelCNN Models with Auxiliary Variables for Natural Image Modeling, ICML 2017; the auxiliary "
        "variable is a point of a mixture over principal components. Reed et al., Parallel Multiscale Autoregressive Density "
        "Estimation, ICML 2017"
    )

    def recipe(self, config: MixturePixelConfig) -> Any:
        return None

    def steps(self, config: MixturePixelConfig) -> int:
        return config.epochs

    def cost(self, config: MixturePixelConfig, shape: Shape) -> Cost:
        # training cuts itself to the time there is: what counts is from when on it is worth having
        batches = min(WORTH, config.epochs * min(PER_EPOCH, max(1, shape.n_rows // config.batch_size)))
        each = 3e-4 * config.batch_size * (config.width / 48) * (2 + config.layers) / 3
        mixture = 1.0 + 2e-5 * min(shape.n_rows, 6000) * config.components
        return Cost(mixture + batches * each, (320 << 20) + 8000 * shape.n_rows)

    def fit(self, config: MixturePixelConfig, data: Pictures, ctx: TrialContext) -> WrittenMixture:
        import torch

        from assay.generation.pixels import MAX_LEVELS, Levels, fillings, fit_levels
        from assay.training.loop import LoopPlan, fit_module
        from assay.training.optim import Rule
        from search_spaces.generative._finer import PLACES, Finer, Places, coarse_step
        from search_spaces.generative._image_mixture import fit_mixture

        whole = ctx.seconds_left() if ctx.seconds_left() < float("inf") else 0.0
        in_scales = config.order == "scales" or (config.order == "auto" and data.x[0].size > RASTER)
        step = coarse_step(data.size) if in_scales else 1
        coarse = replace(data, x=data.x[:, ::step, ::step], x_valid=data.x_valid[:, ::step, ::step])
        mixture = fit_mixture(config.components, config.kept, config.ridge, coarse, ctx, MOST_DIRECTIONS)
        torch.manual_seed(ctx.seed)
        torch.set_num_threads(ctx.threads)
        levels = fit_levels(data.x, MAX_LEVELS)
        curved = not levels.exact and config.writing != "shares"
        if curved:
            levels = Levels(np.arange(256, dtype=np.uint8))
        inner = _inner(mixture, coarse.x)
        scale = (1.0 / np.maximum(inner.std(0), 1e-6)).astype(np.float32)
        held_rows = np.arange(min(HELD, len(data.x_valid)))
        net = _net(config, coarse.size, data.channels, len(levels), len(scale), curved)
        codes, held = (torch.from_numpy(levels.encode(x)) for x in (coarse.x, coarse.x_valid[held_rows]))
        points, held_points = (torch.from_numpy(_inner(mixture, x)) for x in (coarse.x, coarse.x_valid[held_rows]))
        mean = torch.from_numpy(mixture.mean.astype(np.float32))
        directions = torch.from_numpy(mixture.directions.astype(np.float32))
        factor = torch.from_numpy(scale)
        if curved:
            net.start(codes, (mean + points @ directions.T).reshape(codes.shape) / 127.5 - 1.0, ctx.rng)
        n, size = len(codes), min(config.batch_size, len(codes))
        per_epoch = min(SCALED_EPOCH if step > 1 else PER_EPOCH, n // size)
        rng = np.random.default_rng([ctx.seed, 1])
        finer = Finer(data.size, data.channels, config.width, len(levels), curved) if step > 1 else None
        if finer:
            places, held_places = (Places.of(levels.encode(x), step) for x in (data.x, data.x_valid[held_rows]))
            finer.start(places, ctx.rng)
            held_drawn = held_places.draw(HELD_PLACES, np.random.default_rng(0))

        def loss_of(codes: Tensor, points: Tensor) -> Tensor:
            shown = (mean + points @ directions.T).reshape(-1, *mixture.shape) / 127.5 - 1.0
            found: Tensor = net.loss(codes, shown, points * factor)
            return found

        def batches(epoch: int) -> Iterator[Any]:
            order = torch.from_numpy(np.random.default_rng([ctx.seed, epoch]).permutation(n))
            for i in range(per_epoch):
                rows = order[i * size : (i + 1) * size]
                noise = torch.from_numpy(rng.standard_normal((len(rows), len(scale))).astype(np.float32))
                between = places.draw(PLACES, rng) if finer and i % EVERY == 0 else None
                yield (codes[rows], points[rows] + config.jitter * noise / factor), between

        def loss(module: nn.Module, batch: Any) -> Tensor:
            own, between = batch
            return loss_of(*own) + finer.loss(between) if finer and between else loss_of(*own)

        def score(module: nn.Module) -> float:
            parts = [float(loss_of(held[i : i + 64], held_points[i : i + 64])) for i in range(0, len(held), 64)]
            return -float(np.mean(parts)) - (float(finer.loss(held_drawn)) if finer else 0.0)

        filled = levels.values[:, None] if levels.exact else fillings(data.x, levels)
        uniform = 1 + coarse.x[0].size * (2 if curved else 1) + (0 if curved or levels.exact else data.x[0].size)
        uniform += finer.uniform if finer else 0
        found = WrittenMixture(
            mixture, net, levels, filled, coarse.x.shape[1:], scale, len(scale), uniform, curved, finer=finer
        )
        module = torch.nn.ModuleList([net, finer] if finer else [net])
        epochs, drawing = config.epochs, 0.0
        if ctx.seconds_left() < float("inf"):  # as many as there is time for, so that the schedule comes to its end
            began = time.monotonic()
            for _, batch in zip(range(EVERY), batches(0), strict=False):
                loss(module, batch).backward()
            took = (time.monotonic() - began) / EVERY * per_epoch
            drawing = _seconds_of_drawing(found, data)
            left = ctx.seconds_left()
            epochs = int(np.clip(min(SHARE * left, (1 + JUDGED) * left - 2 * drawing) / max(took, 1e-3), 2, epochs))
            module.zero_grad()
        rule = Rule(config.optimizer, config.learning_rate, momentum=0.0, weight_decay=config.weight_decay)
        plan = LoopPlan(rule, epochs, config.schedule, patience=max(6, epochs // 3), clip=1.0)
        fit_module(module, batches, loss, score, per_epoch, plan, ctx)
        module.to("cpu")
        if not curved or ctx.seconds_left() < max(CALM_SHARE * whole, drawing):
            return found
        return replace(found, calm=_calm(found, data))


def _calm(found: WrittenMixture, data: Pictures) -> float:
    """The factor of the curves' scales with which drawn pictures are as rough as real ones, between CALMEST and 1.

    What is drawn a little too roughly is taken for structure by what is drawn beside it, and grows.
    """
    wanted, rough = roughness(data.x), []
    for factor in (1.0, CALMEST):
        drawn = _drawn(replace(found, calm=factor), data, CALM_SAMPLES)
        rough.append(roughness(drawn[..., : data.channels]))
    if rough[0] <= rough[1]:
        return 1.0
    share = (rough[0] - wanted) / (rough[0] - rough[1])
    return 1.0 + (CALMEST - 1.0) * float(np.clip(share, 0.0, 1.0))


def _seconds_of_drawing(found: WrittenMixture, data: Pictures) -> float:
    """As many pictures as are written at once, from the last steps; where the last one is like no other, from few pictures."""
    from assay.generation.draw import LOOPED_AT_ONCE

    n, steps = (LOOPED_AT_ONCE // FEWER, found.steps) if found.finer else (LOOPED_AT_ONCE, TIMED)
    began = time.monotonic()
    _drawn(found, data, n, found.steps - steps)
    return (time.monotonic() - began) / steps * found.steps * LOOPED_AT_ONCE / n


def _drawn(found: WrittenMixture, data: Pictures, n: int, first: int = 0) -> np.ndarray:
    """Pictures of which the values from that step on are written, uint8 (n, S, S, 3)."""
    from assay.generation.compose import compose_pictures, session
    from assay.generation.draw import draw

    labels = tuple(str(i) for i in range(data.n_labels)) if data.n_labels > 1 else ()
    shares = np.bincount(data.y, minlength=data.n_labels) / len(data.y)
    whole = compose_pictures(found, data.size, data.channels, labels, "label", shares)
    spec = {**whole.spec, "loop": {**whole.spec["loop"], "first": first}}
    return draw(session(whole.encoded()), spec, n, 0, {})["image"]


def _inner(mixture: MixtureImages, pictures: np.ndarray) -> np.ndarray:
    """float32 (n, e)."""
    flat = pictures.reshape(len(pictures), -1).astype(np.float32)
    return np.asarray((flat - mixture.mean.astype(np.float32)) @ mixture.directions.astype(np.float32))


def _net(
    config: MixturePixelConfig, size: int, channels: int, n_levels: int, n_directions: int, curved: bool = False
) -> Any:
    """The network, defined where torch is imported.  Channels are written in turn, each seeing those before it."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    from search_spaces.generative._causal import causal_mask

    w = -(-config.width // channels) * channels
    tall, broad, wide = UP + 1, 2 * SIDE + 1, 2 * AROUND + 1
    answers = 3 * CURVES if curved else n_levels  # of a value

    class Net(nn.Module):
        first_mask: Tensor
        inner_mask: Tensor
        last_mask: Tensor
        straight_mask: Tensor
        left: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.written = nn.Conv2d(channels, 2 * w, (tall, broad))
            self.shown = nn.Conv2d(channels, 2 * w, wide, padding=AROUND, bias=False)
            self.point = nn.Linear(n_directions, 2 * w, bias=False)
            self.row, self.column = (nn.Parameter(torch.zeros(size, 2 * w)) for _ in range(2))
            self.blocks = nn.ModuleList(nn.ModuleList([nn.Linear(w, w), nn.Linear(w, w)]) for _ in range(config.layers))
            self.last = nn.Linear(w, channels * answers)
            if curved:
                self.straight = nn.Conv2d(channels, channels, (tall, broad))
                self.straight_shown = nn.Conv2d(channels, channels, wide, padding=AROUND, bias=False)
                before = causal_mask(channels, channels, broad, channels, own=False)[:, :, SIDE - UP : SIDE + 1]
                self.register_buffer("straight_mask", torch.from_numpy(np.ascontiguousarray(before)))
                self.register_buffer("left", torch.ones(channels))
            once = causal_mask(w, channels, broad, channels, own=False)[:, :, SIDE - UP : SIDE + 1]
            self.register_buffer("first_mask", torch.from_numpy(np.concatenate([once, once])))
            for name, outputs in (("inner_mask", w), ("last_mask", channels * answers)):
                mask = causal_mask(outputs, w, 1, channels, own=True)[:, :, 0, 0]
                self.register_buffer(name, torch.from_numpy(mask))

        def forward(self, codes: Tensor, shown: Tensor, point: Tensor) -> Tensor:
            """(N, S, S, C * L) logits, or (N, S, S, C * 3 * CURVES) mixtures."""
            x = F.pad(as_seen(codes.permute(0, 3, 1, 2).float(), n_levels), (SIDE, SIDE, UP, 0))
            h = F.conv2d(x, self.written.weight * self.first_mask, self.written.bias) + self.shown(
                shown.permute(0, 3, 1, 2)
            )
            h = h.permute(0, 2, 3, 1) + self.point(point)[:, None, None]
            a, b = (h + self.row[None, :, None] + self.column[None, None]).chunk(2, 3)
            h = torch.tanh(a) * torch.sigmoid(b)
            for one, two in self._pairs():
                inside = F.relu(F.linear(h, one.weight * self.inner_mask, one.bias))
                h = h + F.linear(inside, two.weight * self.inner_mask, two.bias)
            found = F.linear(F.relu(h), self.last.weight * self.last_mask, self.last.bias)
            if not curved:
                return found
            line = F.conv2d(x, self.straight.weight * self.straight_mask, self.straight.bias)
            line = (line + self.straight_shown(shown.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)[..., None]
            logits, mean, scale = found.reshape(*found.shape[:3], channels, answers).split(CURVES, 4)
            left = self.left[:, None]
            return torch.cat([logits, line + left * mean, scale + left.log()], 4).flatten(3)

        @torch.no_grad()
        def start(self, codes: Tensor, shown: Tensor, rng: np.random.Generator) -> None:
            """The straight part from a regression, and curves as wide as what it leaves over."""
            rows = torch.from_numpy(rng.permutation(len(codes))[: max(1, SAMPLED // size**2)])
            x = F.pad(as_seen(codes[rows].permute(0, 3, 1, 2).float(), n_levels), (SIDE, SIDE, UP, 0))
            parts = [F.unfold(x, (tall, broad)), F.unfold(shown[rows].permute(0, 3, 1, 2), wide, padding=AROUND)]
            windows = torch.cat(parts, 1).transpose(1, 2).flatten(0, 1).double().numpy()
            known = np.ones((channels, windows.shape[1]), bool)
            known[:, : parts[0].shape[1]] = self.straight_mask.flatten(1).numpy() > 0
            values = as_seen(codes[rows].reshape(-1, channels).double(), n_levels).numpy()
            weights, left = straight(windows, known, values)
            self.left.copy_(torch.from_numpy(left))
            cut = parts[0].shape[1]
            for layer, part in ((self.straight, weights[:, :cut]), (self.straight_shown, weights[:, cut:-1])):
                layer.weight.copy_(torch.from_numpy(part).reshape(layer.weight.shape))
            assert self.straight.bias is not None
            self.straight.bias.copy_(torch.from_numpy(weights[:, -1]))
            begin_curves(self.last)

        def loss(self, codes: Tensor, shown: Tensor, point: Tensor) -> Tensor:
            """Mean nats a value."""
            if curved:
                return curve_nats(self(codes, shown, point).reshape(-1, answers), as_seen(codes.reshape(-1), n_levels))
            return F.cross_entropy(self(codes, shown, point).reshape(-1, n_levels), codes.reshape(-1))

        def emit(self, s: Scope, written: str, shown: str, point: str, row: str, column: str) -> str:
            """What `forward` says of one place, [N, C * L] or [N, C * 3 * CURVES], from the windows around it."""

            def const(x: Tensor) -> str:
                return s.const(x.detach().numpy().astype(np.float32))

            def flat(weight: Tensor) -> str:  # (out, C, h, w) -> (h * w * C, out), as windows are laid out
                return const(weight.permute(2, 3, 1, 0).reshape(-1, len(weight)))

            bias = self.written.bias
            assert bias is not None
            h = s.add("Gemm", written, flat(self.written.weight * self.first_mask), const(bias))
            h = s.add("Add", h, s.add("MatMul", shown, flat(self.shown.weight)))
            h = s.add("Add", h, s.add("MatMul", point, const(self.point.weight.T)))
            for table, at in ((self.row, row), (self.column, column)):
                h = s.add("Add", h, s.add("Gather", const(table), at, axis=0))
            a, b = s.add_many("Split", h, outputs=2, axis=1, num_outputs=2)
            h = s.add("Mul", s.add("Tanh", a), s.add("Sigmoid", b))
            for one, two in self._pairs():
                inside = s.add("Gemm", h, const((one.weight * self.inner_mask).T), const(one.bias))
                inside = s.add("Gemm", s.add("Relu", inside), const((two.weight * self.inner_mask).T), const(two.bias))
                h = s.add("Add", h, inside)
            last = const((self.last.weight * self.last_mask).T)
            found = s.add("Gemm", s.add("Relu", h), last, const(self.last.bias))
            if not curved:
                return found
            assert self.straight.bias is not None
            line = s.add("Gemm", written, flat(self.straight.weight * self.straight_mask), const(self.straight.bias))
            line = s.add("Add", line, s.add("MatMul", shown, flat(self.straight_shown.weight)))
            line = s.add("Unsqueeze", line, s.const([2]))
            each = s.add("Reshape", found, s.const([-1, channels, answers]))
            logits, mean, scale = s.add_many("Split", each, outputs=3, axis=2, num_outputs=3)
            left = self.left.reshape(1, -1, 1)
            mean = s.add("Add", line, s.add("Mul", mean, const(left)))
            scale = s.add("Add", scale, const(left.log()))
            return s.add("Flatten", s.add("Concat", logits, mean, scale, axis=2), axis=1)

        def _pairs(self) -> Iterator[tuple[Any, ...]]:
            for block in self.blocks:
                yield tuple(cast("nn.ModuleList", block))

    return Net()


family = MixturePixelCnn()
