"""A forest over the colour and texture around every pixel: an answer in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.model.graph import Graph, Scope
from assay.model.trees import Forest, Tree, add_forest
from assay.space import Choice, Int
from assay.vision.pixels import Whole

PIXELS = 40_000  # training pixels
STEP = 4  # one place in STEP x STEP pixels is asked; between them probabilities are interpolated


@dataclass(frozen=True)
class PixelForestConfig:
    """spans: sides of the squares around a place whose sums are looked at, in steps of two pixels.  place: whether it may look at where it is."""

    trees: Annotated[int, Choice(20, 40, 80)] = 40
    min_samples_leaf: Annotated[int, Int(3, 60, log=True)] = 10
    max_features: Annotated[str, Choice("sqrt", "half", "all")] = "half"
    spans: Annotated[str, Choice("3,7", "3,7,15", "5,15,31")] = "3,7,15"
    place: Annotated[bool, Choice(True, False)] = True


class PixelForest:
    name: ClassVar[str] = "pixel_forest"
    tasks: ClassVar[frozenset[str]] = frozenset({"segmentation"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = PixelForestConfig
    reference: ClassVar[str] = (
        "Shotton, Johnson, Cipolla: Semantic Texton Forests for Image Categorization and Segmentation. CVPR 2008; trees as in "
        "Geurts, Ernst, Wehenkel: Extremely Randomized Trees. Machine Learning 2006"
    )

    def recipe(self, config: PixelForestConfig) -> Whole:
        return Whole()

    def steps(self, config: PixelForestConfig) -> int:
        return 1

    def cost(self, config: PixelForestConfig, shape: Shape) -> Cost:
        return Cost(1.0 + 0.1 * config.trees + 0.01 * shape.n_rows, int(6e8 + shape.n_rows * 3.5e5))

    def fit(self, config: PixelForestConfig, data: Split, ctx: TrialContext) -> Predictor:
        from sklearn.ensemble import ExtraTreesClassifier

        rng = np.random.default_rng(ctx.seed)
        look = Look(tuple(int(s) for s in config.spans.split(",")), config.place, int(data.x.shape[1]))
        at = slice(1, None, STEP)
        each = max(16, PIXELS // max(1, len(data.x)))
        xs, ys = [], []
        for i in range(0, len(data.x), 16):
            rows, truth = look.rows(data.x[i : i + 16]), data.y[i : i + 16, at, at].reshape(-1)
            told = np.flatnonzero(truth < data.target.n_classes)
            told = rng.choice(told, min(len(told), each * len(data.x[i : i + 16])), replace=False)
            xs.append(rows[told])
            ys.append(truth[told])
        features = {"sqrt": "sqrt", "half": 0.5, "all": 1.0}[config.max_features]
        trees = ExtraTreesClassifier(
            config.trees, min_samples_leaf=config.min_samples_leaf, max_features=features, class_weight=None,
            random_state=ctx.seed % (2**32), n_jobs=1,
        )  # fmt: skip
        trees.fit(np.concatenate(xs), np.concatenate(ys))
        seen = trees.classes_.astype(int)
        grown = tuple(_tree(e.tree_, seen, data.target.n_classes, 1.0 / config.trees) for e in trees.estimators_)
        return PixelPredictor(look, grown, data.target.n_classes)


@dataclass(frozen=True)
class Look:
    """What is seen around a place: colours, their sums over squares, edges and roughness; all of it whole numbers, so that
    training and graph cannot differ."""

    spans: tuple[int, ...]
    place: bool
    side: int

    @property
    def places(self) -> int:
        return self.side // STEP

    def compute(self, ops: Any, x: Any) -> Any:
        """x: float (N, 3, side, side), 0 to 255 -> (N, d, places, places)."""
        x = ops.filters(x, np.ones((3, 1, 2, 2), np.float32), stride=2, groups=3)
        parts = [ops.filters(x, np.ones((3, 1, 1, 1), np.float32), stride=STEP // 2, groups=3)]
        grey = ops.filters(x, np.ones((1, 3, 1, 1), np.float32))
        across = ops.filters(grey, np.array([[[[0, 0, 0], [-1, 0, 1], [0, 0, 0]]]], np.float32), padding=1)
        down = ops.filters(grey, np.array([[[[0, -1, 0], [0, 0, 0], [0, 1, 0]]]], np.float32), padding=1)
        steep = ops.concat([_size(ops, across), _size(ops, down)], 1)
        told = ops.concat([x, steep], 1)
        for span in self.spans:
            ones = np.ones((5, 1, span, span), np.float32)
            parts.append(ops.filters(told, ones, padding=span // 2, groups=5, stride=STEP // 2))
        return ops.concat(parts, 1)

    def with_place(self, rows: np.ndarray) -> np.ndarray:
        return (
            rows
            if not self.place
            else np.concatenate([rows, np.tile(self.where, (len(rows) // len(self.where), 1))], 1)
        )

    @property
    def where(self) -> np.ndarray:
        """x and y of every place, float32 (places ** 2, 2)."""
        at = np.arange(self.places, dtype=np.float32)
        y, x = np.meshgrid(at, at, indexing="ij")
        return np.stack([x.ravel(), y.ravel()], 1)

    def rows(self, x: np.ndarray) -> np.ndarray:
        """x: uint8 (n, side, side, 3) -> float32 (n * places ** 2, d)."""
        import torch

        from assay.nn.conv2d import TORCH

        with torch.inference_mode():
            maps = self.compute(TORCH, TORCH.pixels(torch.from_numpy(np.ascontiguousarray(x)))).numpy()
        return self.with_place(np.ascontiguousarray(maps.transpose(0, 2, 3, 1).reshape(-1, maps.shape[1])))


@dataclass(frozen=True, eq=False)
class PixelPredictor:
    look: Look
    trees: tuple[Tree, ...]
    classes: int

    def predict(self, x: np.ndarray) -> np.ndarray:
        """float32 (n, classes * side * side)."""
        import torch

        from assay.nn.conv2d import TORCH

        n = self.look.places
        answers = []
        for i in range(0, max(1, len(x)), 16):
            part = x[i : i + 16]
            p = sum(_walked(t, self.look.rows(part)) for t in self.trees)
            maps = torch.from_numpy(np.asarray(p, np.float32).reshape(len(part), n, n, self.classes)).permute(
                0, 3, 1, 2
            )
            answers.append(TORCH.grown(maps, STEP).reshape(len(part), -1).numpy())
        return np.concatenate(answers)

    def to_onnx(self, x: str) -> Graph:
        from assay.nn.conv2d import ScopeMaps

        scope = Scope()
        ops = ScopeMaps(scope)
        maps = self.look.compute(ops, ops.pixels(x))
        last = scope.add("Transpose", maps, perm=[0, 2, 3, 1])
        n = self.look.places
        if self.look.place:
            where = scope.const(self.look.where.reshape(1, n, n, 2))
            rows = scope.add("Shape", last, start=0, end=1)
            shape = scope.add("Concat", rows, scope.const(np.array([n, n, 2], np.int64)), axis=0)
            last = scope.add("Concat", last, scope.add("Expand", where, shape), axis=3)
        d = 3 + 5 * len(self.look.spans) + 2 * self.look.place
        flat = scope.add("Reshape", last, scope.const(np.array([-1, d], np.int64)))
        p = add_forest(scope, Forest(self.trees, np.zeros(self.classes)), flat)
        back = scope.add("Reshape", p, scope.const(np.array([-1, n, n, self.classes], np.int64)))
        grown = ops.grown(scope.add("Transpose", back, perm=[0, 3, 1, 2]), STEP)
        return scope.graph(ops.reshape(grown, (-1,)))


def _walked(tree: Tree, rows: np.ndarray) -> np.ndarray:
    """What the leaves answer, (n, classes)."""
    at = np.zeros(len(rows), np.int64)
    while True:
        inner = np.flatnonzero(tree.left[at] >= 0)
        if not len(inner):
            return np.asarray(tree.value[at])
        here = at[inner]
        left = rows[inner, tree.feature[here]] <= tree.threshold[here]
        at[inner] = np.where(left, tree.left[here], tree.right[here])


def _tree(tree: Any, seen: np.ndarray, classes: int, share: float) -> Tree:
    value = np.zeros((tree.node_count, classes), np.float64)
    value[:, seen] = tree.value[:, 0, :] * share
    return Tree(
        tree.feature,
        tree.threshold,
        tree.children_left,
        tree.children_right,
        tree.missing_go_to_left.astype(bool),
        value,
    )


def _size(ops: Any, x: Any) -> Any:
    """Of a number without its sign."""
    minus = ops.const(np.array(-1.0, np.float32))
    return ops.add(ops.relu(x), ops.relu(ops.mul(x, minus)))


family = PixelForest()
