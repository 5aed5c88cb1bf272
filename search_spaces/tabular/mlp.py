"""Multi-layer perceptron with searched optimizer, loss and schedule; all folds train as one tensor program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from assay.data.prepare import Recipe
from assay.families import NETS_SHORTEST, Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, Int, When

if TYPE_CHECKING:
    from assay.nn.net import Net
    from assay.training.population import Member

_ADAPTIVE = ("adam", "adamw", "rmsprop")
_GRADIENT = ("sgd", "momentum", "nesterov", "adagrad")
_BOUND = 10.0  # inputs are scaled, so this is ten deviations


@dataclass(frozen=True)
class MlpConfig:
    """Two learning rates, because plain gradient steps want a hundred times what adaptive ones want."""

    optimizer: Annotated[str, Choice("sgd", "momentum", "nesterov", "adam", "adamw", "adagrad", "rmsprop")] = "adamw"
    learning_rate: Annotated[float, Float(2e-4, 3e-2, log=True), When("optimizer", *_ADAPTIVE)] = 5e-3
    sgd_learning_rate: Annotated[float, Float(3e-3, 0.5, log=True), When("optimizer", *_GRADIENT)] = 0.05
    momentum: Annotated[float, Float(0.5, 0.98), When("optimizer", "momentum", "nesterov")] = 0.9
    beta2: Annotated[float, Float(0.9, 0.999), When("optimizer", *_ADAPTIVE)] = 0.99
    eps: Annotated[float, Float(1e-10, 1e-6, log=True), When("optimizer", *_ADAPTIVE, "adagrad")] = 1e-8
    weight_decay: Annotated[float, Float(1e-4, 1.0, log=True), When("optimizer", "adamw")] = 0.1
    l2: Annotated[float, Float(1e-7, 1e-2, log=True), When("optimizer", "adam", "rmsprop", *_GRADIENT)] = 1e-5
    schedule: Annotated[str, Choice("constant", "cosine", "one_cycle", "linear", "exponential", "step", "coslog4")] = (
        "one_cycle"
    )
    classification_loss: Annotated[str, Choice("cross_entropy", "label_smoothing", "kl")] = "cross_entropy"
    smoothing: Annotated[float, Float(0.01, 0.2, log=True), When("classification_loss", "label_smoothing", "kl")] = 0.05
    regression_loss: Annotated[str, Choice("mse", "huber")] = "mse"
    delta: Annotated[float, Float(0.1, 3.0, log=True), When("regression_loss", "huber")] = 1.0
    width: Annotated[int, Choice(32, 64, 128, 256)] = 128
    depth: Annotated[int, Int(1, 4)] = 2
    activation: Annotated[str, Choice("relu", "gelu", "silu")] = "relu"
    dropout: Annotated[float, Float(0.0, 0.5)] = 0.2
    batch_size: Annotated[int, Choice(64, 128, 256, 512)] = 128
    epochs: Annotated[int, Int(10, 200, log=True)] = 50
    patience: Annotated[int, Int(5, 40)] = 15
    numbers: Annotated[str, Choice("standard", "quantile", "robust")] = "standard"


class Mlp:
    name: ClassVar[str] = "mlp"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    lane: ClassVar[str] = "cpu"
    shortest: ClassVar[float] = NETS_SHORTEST
    Config: ClassVar[type] = MlpConfig
    fits_whole: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Gorishniy, Rubachev, Khrulkov, Babenko, Revisiting Deep Learning Models for Tabular Data, NeurIPS 2021"
    )

    def recipe(self, config: MlpConfig) -> Recipe:
        return Recipe(numbers=config.numbers, impute=True, categories="onehot")

    def steps(self, config: MlpConfig) -> int:
        return config.epochs

    def cost(self, config: MlpConfig, shape: Shape) -> Cost:
        from assay.training.memory import net_cost

        net = _net(config)(shape.n_features, max(1, shape.n_classes))
        return net_cost(net, shape, config.batch_size, config.epochs)

    def fit(
        self, config: MlpConfig, data: Split, ctx: TrialContext, resume: Mapping[str, np.ndarray] | None = None
    ) -> Predictor:
        return self.fit_folds(config, [data], ctx, None if resume is None else [resume])[0]

    def fit_folds(
        self,
        config: MlpConfig,
        folds: Sequence[Split],
        ctx: TrialContext,
        resume: Sequence[Mapping[str, np.ndarray]] | None = None,
    ) -> list[Predictor]:
        """Train all folds at once.  resume: `state()` of the predictors of an earlier call on the same folds."""
        from assay.training.folds import FoldPlan, train_folds

        plan = FoldPlan(
            net=_net(config),
            member=lambda table, seed: _member(config, folds[0].target.is_regression, table, seed),
            batch=config.batch_size,
            epochs=config.epochs,
            bound=_BOUND,
            describe=f"optimizer {config.optimizer!r} and learning rate {_learning_rate(config):.3g}",
        )
        return list(train_folds(plan, folds, ctx, resume))


def _net(config: MlpConfig) -> Callable[[int, int], Net]:
    from assay.nn.dense import Dense

    return lambda d, k: Dense(d, k, config.width, config.depth, config.activation)


def _member(config: MlpConfig, is_regression: bool, table: int, seed: int) -> Member:
    from assay.training.losses import Loss
    from assay.training.optim import Rule
    from assay.training.population import Member

    loss = (
        Loss(config.regression_loss, delta=config.delta)
        if is_regression
        else Loss(config.classification_loss, smoothing=config.smoothing)
    )
    rule = Rule(
        config.optimizer,
        _learning_rate(config),
        momentum=0.0 if config.optimizer == "rmsprop" else config.momentum,
        beta2=config.beta2,
        eps=config.eps,
        weight_decay=config.weight_decay if config.optimizer == "adamw" else config.l2,
    )
    return Member(table, rule, loss, seed, config.dropout, config.schedule, patience=config.patience, clip=5.0)


def _learning_rate(config: MlpConfig) -> float:
    return config.learning_rate if config.optimizer in _ADAPTIVE else config.sgd_learning_rate


family = Mlp()
