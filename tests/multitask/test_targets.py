"""Several targets: truth with gaps, their skills, the joint loss, and how a net learns from rows that miss labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assay.metrics import METRICS
from assay.metrics.multitask import skills
from assay.multitask.report import values
from assay.multitask.targets import MultiTarget, OneTarget, Truth, constant_answer, spans
from assay.multitask.teach import Losses, MultiLoss, Units
from assay.training.losses import Loss

COLOUR, SIZE = OneTarget("colour", "binary", ("blue", "red")), OneTarget("size", "regression")
NAN = np.nan


def truth() -> Truth:
    return Truth.of(np.array([[0, 10.0], [1, NAN], [NAN, 30.0], [1, 20.0]]), [COLOUR, SIZE])


def test_rows_taken_from_a_truth_know_its_targets() -> None:
    part = truth()[np.array([1, 2])]
    assert part.targets == (COLOUR, SIZE)
    rows, y = part.column(0)
    assert rows.tolist() == [0] and y.tolist() == [1] and y.dtype == np.int64
    assert truth().only(1).targets == (SIZE,)


def test_answers_stand_side_by_side() -> None:
    target = MultiTarget.of([COLOUR, SIZE], "multitask_score")
    assert target.n_outputs == 3 and not target.is_regression
    assert spans([COLOUR, SIZE]) == [slice(0, 2), slice(2, 3)]
    np.testing.assert_allclose(constant_answer(truth(), None), [1 / 3, 2 / 3, 20.0])


def test_the_constant_has_no_skill_the_truth_has_all_and_gaps_do_not_count() -> None:
    t = truth()
    constant = np.tile(constant_answer(t, None), (4, 1))
    np.testing.assert_allclose(skills(t, constant), [0.0, 0.0], atol=1e-9)
    right = np.array([[1, 0, 10.0], [0, 1, -9e9], [0.5, 0.5, 30.0], [0, 1, 20.0]])
    np.testing.assert_allclose(skills(t, right), [1.0, 1.0], atol=1e-9)
    wrong = right.copy()
    wrong[0, 2] = 1e6
    assert skills(t, wrong)[1] == -1.0, "one target told badly is bounded"
    assert METRICS["multitask_score"].score(t, wrong) == pytest.approx(0.0, abs=1e-9)
    assert METRICS["multitask_worst"].score(t, wrong) == -1.0
    assert np.isnan(METRICS["multitask_score"].score(t, np.full((4, 3), NAN)))


def test_every_target_is_told_by_its_own_metrics() -> None:
    right = np.array([[1, 0, 10.0], [0, 1, 0.0], [0.5, 0.5, 30.0], [0, 1, 21.0]])
    found = values(truth(), right, None)
    assert found["colour:accuracy"] == 1.0
    assert found["size:mae"] == pytest.approx(1 / 3)
    assert {"multitask_score", "colour:skill", "size:skill", "size:r2"} <= found.keys()


@pytest.mark.parametrize("weighing", ["equal", "uncertainty"])
@pytest.mark.parametrize("name", ["cross_entropy", "kl"])
def test_a_missing_label_teaches_nothing_and_the_others_of_its_row_do(weighing: str, name: str) -> None:
    t = truth()
    units = Units.of(t)
    smooth = Loss(name, 0.0 if name == "cross_entropy" else 0.1)
    loss = MultiLoss(t, None, Losses(smooth, Loss("mse"), weighing))
    y = torch.as_tensor((np.asarray(t) - units.mean) / units.deviation, dtype=torch.float32)
    raw = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = loss(raw, y, torch.ones(4))
    (gradient,) = torch.autograd.grad(value, raw)
    assert torch.isfinite(gradient).all()
    assert (gradient[1, 2] == 0) and (gradient[2, :2] == 0).all()
    assert gradient[1, :2].abs().sum() > 0 and gradient[2, 2] != 0
    assert any(p.requires_grad for p in loss.parameters()) == (weighing == "uncertainty")


def test_numbers_leave_a_net_in_their_own_unit_and_within_their_range() -> None:
    units = Units.of(truth())
    raw = np.array([[0.0, 0.0, 0.0], [50.0, -50.0, 99.0]])
    np.testing.assert_allclose(units.answers(raw), [[0.5, 0.5, 20.0], [1.0, 0.0, 30.0]], atol=1e-12)


def test_a_target_with_few_labels_learns_from_the_others_rows() -> None:
    """The same net on the same rows with 12 labels of `b`: alone it has those only, jointly it has the rows of `a`, too."""
    from assay.families import Split
    from assay.testing.context import ToyContext
    from search_spaces.multitask.hard_sharing import HardSharingConfig, family

    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 16)).astype(np.float32)
    signal = x @ rng.normal(size=16) / 4
    a, b = OneTarget("a", "regression"), OneTarget("b", "regression")
    matrix = np.column_stack([signal, 2 * signal + 5])
    matrix[12:200, 1] = NAN
    full = Truth.of(matrix, [a, b])
    config = HardSharingConfig(width=32, depth=1, head_width=0, dropout=0.0, epochs=12, batch_size=64)
    found = {}
    for name, labels, target in (("joint", full, 1), ("alone", full.only(1), 0)):
        both = MultiTarget.of(labels.targets, "multitask_score")
        split = Split(x[:200], labels[:200], x[200:], labels[200:], both)
        predictor = family.fit(config, split, ToyContext(max_steps=config.epochs))
        found[name] = skills(split.y_valid, predictor.predict(split.x_valid))[target]  # type: ignore[arg-type]
    assert found["joint"] > found["alone"]
