"""CoFiBi: gated fields and their bilinear products (FiBiNET) in front of an MLP; all folds train as one program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from assay.data.prepare import Recipe
from assay.families import NETS_SHORTEST, Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, Int, When
from search_spaces.tabular._fields import Groups, train_fields

if TYPE_CHECKING:
    from assay.nn.cofibi import CoFiBi
    from assay.nn.net import Net
    from assay.training.folds import FoldPlan
    from assay.training.population import Member

_BOUND = 10.0  # inputs are scaled, so this is ten deviations


@dataclass(frozen=True)
class CoFiBiConfig:
    """vector: values of a field.  bilinear: whose matrix multiplies a field before it meets another."""

    vector: Annotated[int, Choice(4, 8, 16)] = 8
    bilinear: Annotated[str, Choice("all", "each", "interaction")] = "each"
    product: Annotated[str, Choice("inner", "hadamard")] = "inner"
    width: Annotated[int, Choice(32, 64, 128)] = 64
    depth: Annotated[int, Int(1, 3)] = 2
    embedding: Annotated[str, Choice("ple", "periodic", "linear")] = "ple"
    sigma: Annotated[float, Float(0.03, 3.0, log=True), When("embedding", "periodic")] = 0.1
    optimizer: Annotated[str, Choice("adamw", "adam", "rmsprop")] = "adamw"
    learning_rate: Annotated[float, Float(1e-4, 2e-2, log=True)] = 4e-3
    weight_decay: Annotated[float, Float(1e-5, 0.3, log=True), When("optimizer", "adamw")] = 0.05
    schedule: Annotated[str, Choice("constant", "cosine", "one_cycle", "linear")] = "one_cycle"
    classification_loss: Annotated[str, Choice("cross_entropy", "label_smoothing", "kl")] = "cross_entropy"
    smoothing: Annotated[float, Float(0.01, 0.2, log=True), When("classification_loss", "label_smoothing", "kl")] = 0.05
    regression_loss: Annotated[str, Choice("mse", "huber")] = "mse"
    delta: Annotated[float, Float(0.1, 3.0, log=True), When("regression_loss", "huber")] = 1.0
    dropout: Annotated[float, Float(0.0, 0.5)] = 0.1
    batch_size: Annotated[int, Choice(64, 128, 256)] = 128
    epochs: Annotated[int, Int(8, 80, log=True)] = 30
    patience: Annotated[int, Int(4, 30)] = 10
    numbers: Annotated[str, Choice("standard", "quantile", "robust")] = "standard"


class Family:
    name: ClassVar[str] = "cofibi"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    lane: ClassVar[str] = "cpu"
    shortest: ClassVar[float] = NETS_SHORTEST
    by_default: ClassVar[bool] = False  # dear on a core, and what it adds to the others is not measured yet
    Config: ClassVar[type] = CoFiBiConfig
    fits_whole: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Huang, Zhang, Zhang: FiBiNET: Combining Feature Importance and Bilinear Feature Interaction for Click-Through "
        "Rate Prediction. RecSys 2019"
    )

    def recipe(self, config: CoFiBiConfig) -> Recipe:
        return Recipe(numbers=config.numbers, impute=True, categories="onehot", max_onehot=32)

    def steps(self, config: CoFiBiConfig) -> int:
        return config.epochs

    def cost(self, config: CoFiBiConfig, shape: Shape) -> Cost:
        """Measured on a busy shared core with a fold of 240 rows and 12 columns; right within a factor of two or so."""
        from assay.training.feed import batch_size
        from assay.training.memory import PROCESS_BYTES, member_bytes, table_bytes

        net = _net(config, tuple(range(shape.n_features)), max(1, shape.n_classes))
        batch = batch_size(config.batch_size, shape.n_rows)
        steps = config.epochs * (shape.n_rows / batch + 0.5)
        seconds = 0.05 + steps * (4e-3 + 1e-8 * batch * net.activations_per_row)
        data = table_bytes(shape.n_rows, shape.n_features)
        host = member_bytes(net.layout.size, batch, 2 * net.activations_per_row) + data
        return Cost(seconds, host + PROCESS_BYTES, host)

    def fit(
        self, config: CoFiBiConfig, data: Split, ctx: TrialContext, resume: Mapping[str, np.ndarray] | None = None
    ) -> Predictor:
        return self.fit_folds(config, [data], ctx, None if resume is None else [resume])[0]

    def fit_folds(
        self,
        config: CoFiBiConfig,
        folds: Sequence[Split],
        ctx: TrialContext,
        resume: Sequence[Mapping[str, np.ndarray]] | None = None,
    ) -> list[Predictor]:
        """Train all folds at once.  resume: `state()` of the predictors of an earlier call on the same folds."""
        from assay.training.folds import FoldPlan

        is_regression = folds[0].target.is_regression

        def plan(net: Callable[[int, int], Net]) -> FoldPlan:
            return FoldPlan(
                net=net,
                member=lambda table, seed: _member(config, is_regression, table, seed),
                batch=config.batch_size,
                epochs=config.epochs,
                bound=_BOUND,
                describe=f"optimizer {config.optimizer!r} and learning rate {config.learning_rate:.3g}",
            )

        return train_fields(plan, lambda groups, k: _net(config, groups, k), folds, ctx, resume)


def _net(config: CoFiBiConfig, groups: Groups, n_outputs: int) -> CoFiBi:
    from assay.nn.cofibi import CoFiBi
    from assay.nn.fields import Fields

    fields = Fields(groups, config.vector, config.embedding, config.sigma)
    return CoFiBi(fields, (n_outputs,), config.bilinear, config.product, config.width, config.depth)


def _member(config: CoFiBiConfig, is_regression: bool, table: int, seed: int) -> Member:
    from assay.training.losses import Loss
    from assay.training.optim import Rule
    from assay.training.population import Member

    smoothing = 0.0 if config.classification_loss == "cross_entropy" else config.smoothing
    loss = (
        Loss(config.regression_loss, delta=config.delta)
        if is_regression
        else Loss(config.classification_loss, smoothing=smoothing)
    )
    decay = config.weight_decay if config.optimizer == "adamw" else 0.0
    rule = Rule(config.optimizer, config.learning_rate, momentum=0.0, weight_decay=decay)
    return Member(table, rule, loss, seed, config.dropout, config.schedule, patience=config.patience, clip=1.0)


family = Family()
