"""Two networks against each other: a game that works, one that diverges, one that collapses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from assay.errors import Diverged
from assay.testing.context import ToyContext
from assay.training.adversarial import LOSSES, Game, play
from assay.training.optim import Rule

REAL = torch.from_numpy(np.random.default_rng(0).normal(3.0, 0.5, (256, 2)).astype(np.float32))


class Critic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        return self.body(x)[:, 0]


def batch(step: int) -> tuple[Tensor, Tensor]:
    rows = torch.from_numpy(np.random.default_rng(step).integers(0, len(REAL), 64))
    return REAL[rows], torch.zeros(64, 0)


def make(maker: nn.Module, given: Tensor) -> Tensor:
    return maker(torch.randn(len(given), 4))


@torch.no_grad()
def score(maker: nn.Module) -> float:
    return -float((make(maker, torch.zeros(256, 0)).mean(0) - 3.0).abs().sum())


def game(loss: str, rate: float = 5e-3, epochs: int = 20) -> Game:
    rule = Rule("adam", rate, beta1=0.5)
    return Game(loss, rule, rule, epochs, 8, penalty=1.0 if loss == "wasserstein" else 0.0)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_game_moves_the_samples_to_the_data(loss: str) -> None:
    torch.manual_seed(0)
    maker = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
    before = score(maker)
    ctx = ToyContext()
    found = play(maker, Critic(), batch, make, score, game(loss), ctx)
    assert found.score > 0.5 * before > -3.5
    assert [s for s, _ in ctx.reports] == list(range(1, found.epochs + 1))
    assert not maker.training


def test_a_flat_critic_has_smaller_slopes_where_the_data_are() -> None:
    def slopes(flat: float) -> float:
        torch.manual_seed(0)
        maker, critic = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2)), Critic()
        play(maker, critic, batch, make, score, replace(game("bce", epochs=10), flat=flat), ToyContext())
        there = REAL.clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(critic(there, torch.zeros(len(there), 0)).sum(), there)
        return float((slope**2).sum(1).mean())

    assert slopes(10.0) < 0.5 * slopes(0.0)


def test_a_game_that_becomes_infinite_is_told_as_diverged() -> None:
    maker = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
    with pytest.raises(Diverged, match="NaN or infinite in epoch 1 with loss 'wasserstein'"):
        play(
            maker,
            Critic(),
            lambda s: (batch(s)[0] * float("inf"), batch(s)[1]),
            make,
            score,
            game("wasserstein"),
            ToyContext(),
        )


def test_samples_that_are_all_the_same_are_told_as_collapsed() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.value = nn.Parameter(torch.zeros(2))

        def forward(self, z: Tensor) -> Tensor:
            return self.value + 0 * z[:, :2]

    with pytest.raises(Diverged, match="collapsed in epoch 8"):
        play(Constant(), Critic(), batch, make, score, game("bce"), ToyContext())
