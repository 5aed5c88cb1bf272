"""Schedules stay in [0, 1] and losses agree with torch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from assay.training.losses import Loss, class_loss, target_loss
from assay.training.schedules import SCHEDULES, factors


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_gives_factors_between_0_and_1_and_reaches_its_height(name: str) -> None:
    got = factors(name, np.linspace(0.0, 1.0, 1001))
    assert got.min() >= 0.0 and 0.99 < got.max() <= 1.0


@pytest.mark.parametrize("name", ["cosine", "linear", "one_cycle", "exponential", "step", "coslog4", "flat_cos"])
def test_a_schedule_that_falls_ends_near_nothing(name: str) -> None:
    assert factors(name, np.array(1.0)) <= 0.011


def test_coslog4_has_four_waves_each_twice_as_long() -> None:
    valleys = np.array([0.0, 1 / 15, 3 / 15, 7 / 15, 1.0])
    assert np.allclose(factors("coslog4", valleys), 0.0, atol=1e-12)


def test_an_unknown_schedule_is_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match="one_cycle"):
        factors("sawtooth", np.array(0.0))


def test_class_losses_are_those_of_torch_row_by_row() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 20, 1, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 4, (3, 20), generator=generator)
    prior = np.array([0.1, 0.2, 0.3, 0.4])
    losses = [Loss("cross_entropy", 0.3), Loss("label_smoothing", 0.2), Loss("kl", 0.2)]
    got = class_loss(losses, np.tile(prior, (3, 1)), "cpu", torch.float64).rows(logits, y)
    q = 0.8 * F.one_hot(y[2], 4).double() + 0.2 * torch.tensor(prior)
    wanted = [
        F.cross_entropy(logits[0, :, 0], y[0], reduction="none"),
        F.cross_entropy(logits[1, :, 0], y[1], reduction="none", label_smoothing=0.2),
        F.kl_div(torch.log_softmax(logits[2, :, 0], -1), q, reduction="none").sum(1),
    ]
    assert torch.allclose(got, torch.stack(wanted), atol=1e-12)


def test_the_divergence_of_a_perfect_answer_is_zero() -> None:
    prior = np.array([[0.3, 0.7]])
    q = torch.tensor([[0.9 + 0.1 * 0.3, 0.1 * 0.7], [0.1 * 0.3, 0.9 + 0.1 * 0.7]], dtype=torch.float64)
    loss = class_loss([Loss("kl", 0.1)], prior, "cpu", torch.float64)
    got = loss.rows(q.log()[None, :, None], torch.tensor([[0, 1]]))
    assert torch.allclose(got, torch.zeros(1, 2, dtype=torch.float64), atol=1e-12)


def test_target_losses_are_those_of_torch_row_by_row() -> None:
    generator = torch.Generator().manual_seed(0)
    answer = 2 * torch.randn(2, 50, 1, 1, generator=generator, dtype=torch.float64)
    y = torch.randn(2, 50, generator=generator, dtype=torch.float64)
    got = target_loss([Loss("mse"), Loss("huber", delta=0.7)], "cpu", torch.float64).rows(answer, y)
    assert torch.allclose(got[0], F.mse_loss(answer[0, :, 0, 0], y[0], reduction="none"), atol=1e-12)
    assert torch.allclose(got[1], F.huber_loss(answer[1, :, 0, 0], y[1], reduction="none", delta=0.7), atol=1e-12)


def test_the_loss_of_many_answers_is_the_mean_of_their_losses() -> None:
    answer = torch.tensor([1.0, 3.0]).view(1, 1, 2, 1)
    got = target_loss([Loss("mse")], "cpu", torch.float32).rows(answer, torch.zeros(1, 1))
    assert float(got) == 5.0  # (1 + 9) / 2, not ((1 + 3) / 2)^2


def test_a_loss_for_the_wrong_kind_of_target_is_refused() -> None:
    with pytest.raises(ValueError, match="for numbers"):
        class_loss([Loss("mse")], np.ones((1, 2)) / 2, "cpu", torch.float32)
    with pytest.raises(ValueError, match="for classes"):
        target_loss([Loss("kl")], "cpu", torch.float32)
    with pytest.raises(ValueError, match="no loss is called"):
        Loss("hinge")
