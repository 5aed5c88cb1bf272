"""One decision tree: a quick, readable member that is strong nowhere and different everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from assay.data.prepare import Recipe
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, Int, When
from search_spaces.tabular._trees import forest_bytes, forest_seconds, grow, impurity, max_leaves


@dataclass(frozen=True)
class DecisionTreeConfig:
    """criterion and smoothing count for classification only.

    smoothing: average rows added to every leaf, so that none is certain.  ccp_alpha: cost of a leaf in pruning.
    """

    criterion: Annotated[str, Choice("gini", "entropy")] = "gini"
    depth: Annotated[str, Choice("free", "limited")] = "limited"
    max_depth: Annotated[int, Int(1, 20), When("depth", "limited")] = 8
    min_samples_leaf: Annotated[int, Int(1, 100, log=True)] = 10
    max_features: Annotated[float, Float(0.2, 1.0)] = 1.0
    ccp_alpha: Annotated[float, Float(1e-6, 1e-1, log=True)] = 1e-4
    smoothing: Annotated[float, Float(0.5, 20.0, log=True)] = 4.0
    categories: Annotated[str, Choice("target", "ordinal", "onehot")] = "target"


class DecisionTree:
    name: ClassVar[str] = "decision_tree"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = DecisionTreeConfig
    fits_whole: ClassVar[bool] = True
    reference: ClassVar[str] = "Breiman, Friedman, Olshen, Stone: Classification and Regression Trees. Wadsworth, 1984"

    def recipe(self, config: DecisionTreeConfig) -> Recipe:
        return Recipe(numbers="raw", impute=False, categories=config.categories)

    def steps(self, config: DecisionTreeConfig) -> int:
        return 1

    def cost(self, config: DecisionTreeConfig, shape: Shape) -> Cost:
        seconds = forest_seconds(shape, config.max_features, 1, per_cell=3e-8)
        return Cost(seconds, forest_bytes(shape.n_rows, shape.n_features, shape.n_classes, 1))

    def fit(self, config: DecisionTreeConfig, data: Split, ctx: TrialContext) -> Predictor:
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

        kind = DecisionTreeRegressor if data.target.is_regression else DecisionTreeClassifier

        def build(n_trees: int) -> Any:
            return kind(
                criterion=impurity(data.target.is_regression, config.criterion),
                max_depth=config.max_depth if config.depth == "limited" else None,
                min_samples_leaf=config.min_samples_leaf,
                max_features=config.max_features,
                max_leaf_nodes=max_leaves(len(data.y)),
                ccp_alpha=config.ccp_alpha,
                random_state=ctx.seed,
            )

        return grow(data, ctx, build, n_trees=1, smoothing=config.smoothing)


family = DecisionTree()
