"""A pretrained net whose features are kept, and a head on them: strong on photographs, with little training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from assay.data.table import Table
from assay.families import Cost, Predictor, Shape, Split, Target, TrialContext
from assay.model.graph import Graph, Scope
from assay.space import Choice, Float, Int, When
from search_spaces.image import _backbones
from search_spaces.image._pixels import Shrunk, source


@dataclass(frozen=True)
class BackboneWish:
    """Features of a pretrained net that sees pictures at a size, with mean 0 and deviation 1.

    stages: "all", or "middle" for those before the last."""

    size: int
    stages: str = "all"

    def fit(
        self, table: Table, y: np.ndarray, target: Target, seed: int, weight: np.ndarray | None = None
    ) -> tuple[BackboneFeatures, np.ndarray]:
        backbone = _backbones.find()
        column, front = source(table)
        pixels = Shrunk(column, front, front.size)
        size = _backbones.seen_size(self.size, front.size)
        first = backbone.middle if self.stages == "middle" else 0
        found = _backbones.remembered.of(backbone, size, pixels.transform(table))[:, first:]
        spread = found.std(0, dtype=np.float64)
        usual = max(1e-6, float(np.sqrt(np.mean(spread**2))))
        made = BackboneFeatures(
            pixels,
            backbone,
            self.size,
            first,
            found.mean(0),
            (1.0 / np.maximum(spread, 0.2 * usual)).astype(np.float32),
        )
        return made, np.asarray((found - made.mean) * made.scale)


@dataclass(frozen=True, eq=False)
class BackboneFeatures:
    """first: column from which on features are used.  mean, scale: float32 (d,)."""

    pixels: Shrunk
    backbone: _backbones.Backbone
    size: int
    first: int
    mean: np.ndarray
    scale: np.ndarray
    groups: None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return self.pixels.columns

    def transform(self, table: Table) -> np.ndarray:
        found = _backbones.remembered.of(self.backbone, self.size, self.pixels.transform(table))[:, self.first :]
        return np.asarray((found - self.mean) * self.scale)

    def to_onnx(self, inputs: Mapping[str, str]) -> Graph:
        scope = Scope()
        x = scope.add("Cast", scope.include(self.pixels.to_onnx(inputs)), to=1)
        x = scope.add("Transpose", x, perm=[0, 3, 1, 2])
        found = scope.include(self.backbone.graph(self.size).renamed({"pixels": x}))
        if self.first:
            ends = (np.array([v], np.int64) for v in (self.first, 2**31, 1))
            found = scope.add("Slice", found, *(scope.const(v) for v in ends))
        centred = scope.add("Sub", found, scope.const(self.mean))
        return scope.graph(scope.add("Mul", centred, scope.const(self.scale)))


@dataclass(frozen=True)
class PretrainedBackboneConfig:
    """size: that the net sees.  stages: whose features; what the middle ones see suits pictures unlike ImageNet's.  The
    features of one size are computed once, whatever the rest."""

    size: Annotated[int, Choice(96, 128, 160, 224)] = 128
    stages: Annotated[str, Choice("all", "middle")] = "all"
    head: Annotated[str, Choice("linear", "kernel", "mlp")] = "linear"
    l2: Annotated[float, Float(1e-5, 1e-1, log=True), When("head", "linear")] = 3e-3
    width: Annotated[float, Float(0.2, 3.0, log=True), When("head", "kernel")] = 1.0
    hidden: Annotated[int, Choice(128, 256, 512), When("head", "mlp")] = 256
    dropout: Annotated[float, Float(0.0, 0.6), When("head", "mlp")] = 0.3
    epochs: Annotated[int, Int(5, 60, log=True), When("head", "mlp")] = 20


class PretrainedBackbone:
    name: ClassVar[str] = "pretrained_backbone"
    tasks: ClassVar[frozenset[str]] = frozenset({"image_classification"})
    lane: ClassVar[str] = "cpu"
    fits_whole: ClassVar[bool] = True
    Config: ClassVar[type] = PretrainedBackboneConfig
    reference: ClassVar[str] = (
        "Kornblith, Shlens, Le: Do Better ImageNet Models Transfer Better? CVPR 2019 (heads on features that are kept)"
    )

    def missing(self) -> str:
        """Why it cannot be used here, with the way out; "" when it can."""
        return _backbones.missing()

    def recipe(self, config: PretrainedBackboneConfig) -> BackboneWish:
        return BackboneWish(config.size, config.stages)

    def steps(self, config: PretrainedBackboneConfig) -> int:
        return config.epochs if config.head == "mlp" else 1

    def cost(self, config: PretrainedBackboneConfig, shape: Shape) -> Cost:
        size = _backbones.seen_size(config.size, shape.side) if shape.side else config.size
        features = 1.0 + shape.n_rows * (size / 128) ** 2 * 5e-3
        head = {
            "linear": 0.5 + 1.2e-4 * max(2, shape.n_classes) * shape.n_rows,
            "kernel": 3.0 + 5e-4 * shape.n_rows,
            "mlp": 0.5 + 2e-7 * config.hidden * config.epochs * shape.n_rows,
        }[config.head]
        kept = ("features of a pretrained net", size), features
        return Cost(features + head, 900_000_000 + shape.n_rows * 16_000, kept=kept)

    def fit(self, config: PretrainedBackboneConfig, data: Split, ctx: TrialContext) -> Predictor:
        from search_spaces.image._answers import scorer
        from search_spaces.image._heads import fit_kernel, fit_logistic, fit_mlp

        if config.head == "linear":
            return fit_logistic(data, ctx, config.l2)
        if config.head == "kernel":
            return fit_kernel(data, ctx, 1500, config.width, 256)
        return fit_mlp(data, ctx, config.hidden, config.epochs, config.dropout, scorer(data))


family = PretrainedBackbone()
