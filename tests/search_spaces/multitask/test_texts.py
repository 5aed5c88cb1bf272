"""Training on several targets of texts: how batches are drawn, and how candidates of a question are taught."""

from __future__ import annotations

import numpy as np
import torch

from assay.families import discover
from assay.testing.context import ToyContext
from assay.testing.toy import toys
from search_spaces.multitask._texts import Lessons, endless, listwise


def test_a_good_candidate_is_taught_against_those_of_its_own_question() -> None:
    y = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0])
    groups = np.array([0, 0, 1, 1, 2])
    right = listwise(torch.tensor([2.0, -2.0, 2.0, -2.0, -9.0]), y, groups)
    wrong = listwise(torch.tensor([-2.0, 2.0, 2.0, -2.0, -9.0]), y, groups)
    expected = float(np.log1p(np.exp(-4.0)))
    assert abs(float(right) - expected) < 1e-5, "a question with one candidate teaches nothing"
    assert float(wrong) > 1.5


def test_batches_hold_one_target_and_all_its_rows_come_before_any_twice() -> None:
    (toy,) = [t for t in toys("multitask") if t.form == "texts"]
    family = discover()["mt_dnn"]
    split = toy.split(family.recipe(family.Config()))
    lessons = Lessons(family.Config(), split, ToyContext())  # type: ignore[arg-type]
    rows = lessons.rows[1]
    stream = endless(lessons, 1, np.random.default_rng(0))
    seen: list[int] = []
    while len(seen) < len(rows):
        seen += next(stream).tolist()
    assert sorted(seen) == sorted(rows.tolist())
    (_, i), (y, _, _) = lessons.batch(next(stream), 1)
    assert i == 1 and not torch.isnan(y).any()
