"""What all nets for pictures share: how they are trained and augmented, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from assay.families import Cost, Shape, Split, TrialContext
from assay.model.graph import Graph, Scope
from assay.space import Choice, Float, Int, When
from search_spaces.image._pixels import side_seen

if TYPE_CHECKING:
    from assay.nn.images.nets import PictureNet
    from assay.training.images.augment import Augment

ENOUGH = 16_000  # pictures looked at that are worth starting a net for; with more time it trains on, with less it ends sooner
RATE = 2.5e10  # multiplications a second of training on one core; measured on shared AVX2 cores
MIRROR_ROWS = 1500  # pictures that tell whether a mirrored one keeps its class


@dataclass(frozen=True)
class NetConfig:
    """side: pixels that it sees, of pictures that have more.  flip "auto": where a quick look finds that classes keep.
    mix: pictures blended (mixup) or patched into one another (cutmix), with their targets."""

    optimizer: Annotated[str, Choice("adamw", "adam", "rmsprop", "nesterov")] = "adamw"
    learning_rate: Annotated[float, Float(2e-4, 2e-2, log=True), When("optimizer", "adamw", "adam", "rmsprop")] = 4e-3
    sgd_learning_rate: Annotated[float, Float(5e-3, 0.5, log=True), When("optimizer", "nesterov")] = 0.1
    weight_decay: Annotated[float, Float(1e-4, 0.5, log=True), When("optimizer", "adamw")] = 0.05
    l2: Annotated[float, Float(1e-5, 1e-2, log=True), When("optimizer", "nesterov")] = 5e-4
    schedule: Annotated[str, Choice("one_cycle", "cosine", "linear", "flat_cos")] = "one_cycle"
    smoothing: Annotated[float, Choice(0.0, 0.05, 0.1)] = 0.05
    flip: Annotated[str, Choice("auto", "on", "off")] = "auto"
    crop: Annotated[float, Float(0.0, 0.2)] = 0.08
    rand_n: Annotated[int, Int(0, 3)] = 0
    rand_m: Annotated[float, Float(0.1, 0.8), When("rand_n", 1, 2, 3)] = 0.3
    mix: Annotated[str, Choice("none", "mixup", "cutmix", "both")] = "none"
    erase: Annotated[float, Choice(0.0, 0.25)] = 0.0
    dropout: Annotated[float, Float(0.0, 0.5)] = 0.1
    side: Annotated[int, Choice(32, 48, 64)] = 32
    batch_size: Annotated[int, Choice(32, 64, 128)] = 64
    epochs: Annotated[int, Int(8, 120, log=True)] = 30


def net_cost(config: NetConfig, shape: Shape, multiplications: float, parameters: float) -> Cost:
    """multiplications: of one picture forward.  Time is that of a fit worth while: it ends in the time there is."""
    looks = shape.n_rows * config.epochs
    worth = min(looks, ENOUGH + 1e-6 * looks)
    pictures = 6.0 * shape.n_rows * side_seen(shape, config.side) ** 2
    kept = config.batch_size * multiplications / 20
    return Cost(0.5 + 3 * multiplications * worth / RATE, int(450_000_000 + pictures + 4 * (6 * parameters + kept)),
                int(500_000_000 + pictures + 4 * (6 * parameters + kept)))  # fmt: skip


def fit_picture_net(
    make: Callable[[int, Mapping[str, Any]], PictureNet],
    config: NetConfig,
    data: Split,
    ctx: TrialContext,
    layer_decay: float = 1.0,
) -> NetPredictor:
    """make(side, scaling): the net, freshly drawn.  Raises Diverged."""
    import torch

    from assay.training.images.loop import Plan, fit_net
    from assay.training.optim import Rule
    from search_spaces.image._answers import scorer

    torch.manual_seed(ctx.seed)
    net = make(data.x.shape[1], scaling(data.x))
    adaptive = config.optimizer != "nesterov"
    rule = Rule(
        config.optimizer,
        config.learning_rate if adaptive else config.sgd_learning_rate,
        momentum=0.0 if config.optimizer == "rmsprop" else 0.9,
        weight_decay={"adamw": config.weight_decay, "nesterov": config.l2}.get(config.optimizer, 0.0),
    )
    plan = Plan(
        rule, config.batch_size, config.epochs, augment_of(config, data), config.smoothing, config.schedule,
        layer_decay=layer_decay,
    )  # fmt: skip
    fit_net(net, data, plan, ctx, scorer(data))
    return NetPredictor(net.to("cpu").float())


def scaling(x: np.ndarray) -> dict[str, list[float]]:
    """Mean and deviation of the channels over some of the pictures."""
    some = x[:: max(1, len(x) // 2000)].reshape(-1, 3).astype(np.float64)
    return {"mean": some.mean(0).tolist(), "deviation": np.maximum(some.std(0), 1.0).tolist()}


def augment_of(config: Any, data: Split) -> Augment:
    """config: anything with NetConfig's fields about pictures."""
    from assay.training.images.augment import Augment

    flip = config.flip == "on" or (config.flip == "auto" and mirror_keeps_classes(data))
    return Augment(
        flip, config.crop, config.rand_n, config.rand_m,
        mixup=0.2 if config.mix in ("mixup", "both") else 0.0,
        cutmix=1.0 if config.mix in ("cutmix", "both") else 0.0,
        erase=config.erase,
    )  # fmt: skip


def mirror_keeps_classes(data: Split) -> bool:
    """Whether a quick linear model knows the class of mirrored pictures nearly as well as that of the others.

    Where it does not (letters, digits), mirroring would teach it wrong ones.
    """
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(data.x))[:MIRROR_ROWS]
    side = data.x.shape[1]
    k = max(1, side // 8)
    cut = (side // k) * k
    small = data.x[rows][:, :cut, :cut].reshape(len(rows), cut // k, k, cut // k, k, 3).mean((2, 4)).astype(np.float64)
    y = np.eye(data.target.n_classes)[data.y[rows]]
    mirrored = small[:, :, ::-1].reshape(len(rows), -1)
    plain = small.reshape(len(rows), -1)
    mean = plain.mean(0)
    half = len(rows) // 2
    if half < 20:
        return False
    a = plain[:half] - mean
    ridge = 0.1 * np.trace(a.T @ a) / a.shape[1] * np.eye(a.shape[1])
    w = np.linalg.solve(a.T @ a + ridge, a.T @ (y[:half] - y[:half].mean(0)))
    answers = [((m[half:] - mean) @ w + y[:half].mean(0)).argmax(1) == data.y[rows][half:] for m in (plain, mirrored)]
    known, turned = (float(a.mean()) for a in answers)
    return turned >= 0.9 * known


@dataclass(frozen=True, eq=False)
class NetPredictor:
    """A trained net in evaluation mode, on the processor."""

    net: PictureNet

    def predict(self, x: np.ndarray) -> np.ndarray:
        from assay.training.images.loop import predict

        return predict(self.net, x)

    def to_onnx(self, x: str) -> Graph:
        from assay.nn.ops import ScopeOps

        scope = Scope()
        ops = ScopeOps(scope)
        return scope.graph(ops.softmax(self.net.compute(ops, ops.pixels(x))))
