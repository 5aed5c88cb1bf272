"""What is searched of nets over pictures with several targets, and the predictor that comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from assay.families import Cost, Shape
from assay.model.graph import Scope
from assay.space import Choice, Float, When
from search_spaces.detection._training import Schooling, seconds_of

if TYPE_CHECKING:
    from assay.multitask.teach import Units
    from assay.nn.mmd_net import MmdNet

CACHE_BYTES = 400 << 20  # of frozen features that are kept


@dataclass(frozen=True)
class Pictured(Schooling):
    """backbone "pretrained": EfficientNet-Lite0 with the weights of ImageNet, which is frozen until everything is trained
    together; "own": drawn anew; "auto": the former where it is installed and pictures are not tiny.  views: moved copies
    of every picture whose frozen features are kept.  mirror "auto": pictures are mirrored where that keeps their class.
    hidden: of the auxiliary net.  weighing: of the losses of several targets, see `assay.multitask.teach`.  dice,
    balance: as of segmenters."""

    backbone: Annotated[str, Choice("auto", "own", "pretrained")] = "auto"
    views: Annotated[int, Choice(2, 4, 8)] = 4
    weighing: Annotated[str, Choice("equal", "uncertainty")] = "uncertainty"
    mirror: Annotated[str, Choice("auto", "on", "off")] = "auto"
    width: Annotated[int, Choice(12, 16, 24)] = 16
    blocks: Annotated[int, Choice(1, 2)] = 1
    hidden: Annotated[int, Choice(32, 64, 128)] = 64
    dropout: Annotated[float, Float(0.0, 0.5)] = 0.2
    classification_loss: Annotated[str, Choice("cross_entropy", "label_smoothing", "kl")] = "label_smoothing"
    smoothing: Annotated[float, Float(0.01, 0.2, log=True), When("classification_loss", "label_smoothing", "kl")] = 0.05
    regression_loss: Annotated[str, Choice("mse", "huber")] = "mse"
    delta: Annotated[float, Float(0.1, 3.0, log=True), When("regression_loss", "huber")] = 1.0
    dice: Annotated[float, Float(0.0, 2.0)] = 0.7
    balance: Annotated[float, Float(0.0, 0.8)] = 0.25


def cost_of(config: Pictured, shape: Shape) -> Cost:
    """Of a fit that is worth while; with more time it trains on, with less it ends sooner."""
    work = 1.6e-2 * (config.width / 16) ** 1.6 * (0.6 + 0.4 * config.blocks)
    memory = shape.n_rows * 1.5e5 + config.batch_size * config.width * 4e6 + 6e8 + CACHE_BYTES
    return Cost(2.0 + seconds_of(config, shape.n_rows, work), int(memory))


@dataclass(frozen=True, eq=False)
class PicturePredictor:
    """teller: the net that answers for the whole picture; segmenter: that of the mask; often the same one."""

    teller: MmdNet | None
    segmenter: MmdNet | None
    units: Units

    def predict(self, x: Any) -> np.ndarray:
        """x: a `Seen` -> float (n, k): answers for the whole, then the mask's probabilities."""
        return np.concatenate([a for a in _asked(x, self.teller, self.segmenter, self.units)], 1)

    def emit(self, scope: Scope, pixels: str, beside: str | None) -> str:
        parts = []
        if self.teller is not None and self.teller is self.segmenter:
            raw, mask = self.teller.emit(scope, pixels, beside, ("told", "mask"))
            found = [raw, mask]
        else:
            found = self.teller.emit(scope, pixels, beside, ("told",)) if self.teller is not None else []
            found += self.segmenter.emit(scope, pixels, beside, ("mask",)) if self.segmenter is not None else []
        if self.teller is not None:
            parts.append(self.units.emit(scope, found[0]))
        if self.segmenter is not None:
            parts.append(scope.add("Flatten", found[-1], axis=1))
        return parts[0] if len(parts) == 1 else scope.add("Concat", *parts, axis=1)


def _asked(x: Any, teller: MmdNet | None, segmenter: MmdNet | None, units: Units) -> list[np.ndarray]:
    import torch

    from assay.multitask.pictures import CHUNK
    from assay.nn.conv2d import TORCH

    jobs: list[tuple[MmdNet, tuple[str, ...]]] = []
    if teller is not None:
        jobs.append((teller, ("told", "mask") if segmenter is teller else ("told",)))
    if segmenter is not None and segmenter is not teller:
        jobs.append((segmenter, ("mask",)))
    found: list[np.ndarray] = []
    for net, wanted in jobs:
        net.eval()
        parts: list[list[np.ndarray]] = [[] for _ in wanted]
        with torch.inference_mode():
            for i in range(0, max(1, len(x)), CHUNK):
                chunk = x[i : i + CHUNK]
                pixels = torch.from_numpy(np.ascontiguousarray(chunk.pixels)).permute(0, 3, 1, 2).float()
                beside = torch.from_numpy(np.ascontiguousarray(chunk.beside, np.float32))
                for part, value in zip(parts, net.answers(TORCH, pixels, beside, wanted), strict=True):
                    part.append(value.flatten(1).numpy())
        joined = [np.concatenate(p) for p in parts]
        found += [units.answers(joined[0]) if wanted[0] == "told" else joined[0], *joined[1:]]
    return found
