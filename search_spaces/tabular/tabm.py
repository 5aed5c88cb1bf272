"""TabM-mini: many implicit perceptrons that share one body and differ in how they scale the inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from assay.data.prepare import Recipe
from assay.families import NETS_SHORTEST, Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, Int

if TYPE_CHECKING:
    from assay.nn.net import Net
    from assay.training.population import Member

_BOUND = 10.0


@dataclass(frozen=True)
class TabmConfig:
    """The paper's recipe, smaller for one core: 8 answers instead of 32, width 128 instead of 512.

    The mean of the answers' losses is lowered, never the loss of their mean; that keeps the answers apart.
    """

    learning_rate: Annotated[float, Float(5e-4, 1e-2, log=True)] = 3e-3
    weight_decay: Annotated[float, Float(1e-4, 0.3, log=True)] = 0.01
    dropout: Annotated[float, Float(0.0, 0.5)] = 0.1
    answers: Annotated[int, Choice(4, 8, 16)] = 8
    width: Annotated[int, Choice(64, 128, 256)] = 128
    depth: Annotated[int, Int(1, 3)] = 2
    schedule: Annotated[str, Choice("constant", "cosine", "one_cycle")] = "one_cycle"
    batch_size: Annotated[int, Choice(32, 64, 128, 256)] = 128
    epochs: Annotated[int, Int(20, 150, log=True)] = 60
    patience: Annotated[int, Int(8, 32)] = 16
    numbers: Annotated[str, Choice("standard", "quantile", "robust")] = "standard"


class Tabm:
    name: ClassVar[str] = "tabm"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    lane: ClassVar[str] = "cpu"
    shortest: ClassVar[float] = NETS_SHORTEST
    Config: ClassVar[type] = TabmConfig
    fits_whole: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Gorishniy, Kotelnikov, Babenko, TabM: Advancing Tabular Deep Learning with Parameter-Efficient Ensembling, "
        "ICLR 2025"
    )

    def recipe(self, config: TabmConfig) -> Recipe:
        return Recipe(numbers=config.numbers, impute=True, categories="onehot")

    def steps(self, config: TabmConfig) -> int:
        return config.epochs

    def cost(self, config: TabmConfig, shape: Shape) -> Cost:
        from assay.training.memory import net_cost

        net = _net(config)(shape.n_features, max(1, shape.n_classes))
        return net_cost(net, shape, config.batch_size, config.epochs, answers=config.answers)

    def fit(
        self, config: TabmConfig, data: Split, ctx: TrialContext, resume: Mapping[str, np.ndarray] | None = None
    ) -> Predictor:
        return self.fit_folds(config, [data], ctx, None if resume is None else [resume])[0]

    def fit_folds(
        self,
        config: TabmConfig,
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
            describe=f"learning rate {config.learning_rate:.3g}",
        )
        return list(train_folds(plan, folds, ctx, resume))


def _net(config: TabmConfig) -> Callable[[int, int], Net]:
    from assay.nn.tabm import TabmNet

    return lambda d, k: TabmNet(d, k, config.width, config.depth, config.answers)


def _member(config: TabmConfig, is_regression: bool, table: int, seed: int) -> Member:
    from assay.training.losses import Loss
    from assay.training.optim import Rule
    from assay.training.population import Member

    return Member(
        table,
        Rule("adamw", config.learning_rate, weight_decay=config.weight_decay),
        Loss("mse" if is_regression else "cross_entropy"),
        seed,
        config.dropout,
        config.schedule,
        patience=config.patience,
        clip=1.0,
    )


family = Tabm()
