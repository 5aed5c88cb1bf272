"""COCO's average precision, by hand and against its own code."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from assay.metrics import METRICS
from assay.metrics.detection import THRESHOLDS, Found, Things, average_precisions


def things(*boxes: tuple[float, ...], label: int = 0, ignored: bool = False) -> Things:
    n = len(boxes)
    return Things(np.array(boxes, float).reshape(n, 4), np.full(n, label), np.full(n, ignored))


def found(*boxes: tuple[float, ...], scores: tuple[float, ...], label: int = 0) -> Found:
    return Found(np.array(boxes, float).reshape(len(boxes), 4), np.full(len(boxes), label), np.array(scores, float))


def test_a_perfect_answer_has_one_and_none_has_zero() -> None:
    truth = [things((0, 0, 1, 1))]
    assert METRICS["map"].value(truth, [found((0, 0, 1, 1), scores=(0.9,))]) == 1.0
    assert METRICS["map50"].value(truth, [found(scores=())]) == 0.0


def test_a_second_box_on_one_thing_is_wrong() -> None:
    truth = [things((0, 0, 1, 1), (2, 2, 3, 3))]
    twice = found((0, 0, 1, 1), (0, 0, 1, 1), (2, 2, 3, 3), scores=(0.9, 0.8, 0.7))
    # right, wrong, right: precision 1 up to recall 1/2 (51 of 101 points), then 2/3
    assert METRICS["map50"].value(truth, [twice]) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_an_overlap_of_six_tenths_counts_up_to_six_tenths() -> None:
    value = average_precisions([things((0, 0, 1, 1))], [found((0, 0, 1, 0.62), scores=(0.5,))])[:, 0]
    np.testing.assert_array_equal(value, THRESHOLDS <= 0.62)


def test_boxes_on_a_crowd_are_neither_right_nor_wrong() -> None:
    truth = [Things(np.array([[0, 0, 1, 1], [5, 5, 9, 9.0]]), np.zeros(2, int), np.array([False, True]))]
    answer = found((5, 5, 6, 6), (7, 7, 8, 8), (0, 0, 1, 1), scores=(0.9, 0.8, 0.7))
    assert METRICS["map50"].value(truth, [answer]) == 1.0


def test_without_any_thing_it_is_undefined() -> None:
    assert np.isnan(METRICS["map50"].value([things()], [found(scores=())]))


def test_it_equals_the_code_of_coco() -> None:
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(0)
    truth, answers = [], []
    for _ in range(40):
        n = int(rng.integers(0, 6))
        low = rng.uniform(0, 60, (n, 2))
        boxes = np.concatenate([low, low + rng.uniform(5, 40, (n, 2))], 1)
        labels = rng.integers(0, 3, n)
        truth.append(Things(boxes, labels, rng.random(n) < 0.15))
        noisy = np.concatenate([boxes + rng.normal(0, 3, boxes.shape), rng.uniform(0, 50, (3, 4))])
        noisy[:, 2:] = np.maximum(noisy[:, 2:], noisy[:, :2] + 2)
        answers.append(
            Found(noisy, np.concatenate([labels, rng.integers(0, 3, 3)]), rng.permutation(1000)[: n + 3] / 1000)
        )

    def wide(b: np.ndarray) -> list[float]:
        return [float(b[0]), float(b[1]), float(b[2] - b[0]), float(b[3] - b[1])]

    gt = {"images": [{"id": i + 1, "width": 100, "height": 100} for i in range(40)], "annotations": [],
          "categories": [{"id": c + 1, "name": str(c)} for c in range(3)]}  # fmt: skip
    for i, t in enumerate(truth):
        for b, c, ignored in zip(t.boxes, t.labels, t.ignored, strict=True):
            box = wide(b)
            gt["annotations"].append(
                {"id": len(gt["annotations"]) + 1, "image_id": i + 1, "category_id": int(c) + 1, "bbox": box,
                 "area": box[2] * box[3], "iscrowd": int(ignored)}
            )  # fmt: skip
    dt = [{"image_id": i + 1, "category_id": int(c) + 1, "bbox": wide(b), "score": float(s)}
          for i, f in enumerate(answers) for b, c, s in zip(f.boxes, f.labels, f.scores, strict=True)]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        base = coco.COCO()
        base.dataset = gt
        base.createIndex()
        judge = COCOeval(base, base.loadRes(dt), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    assert METRICS["map"].value(truth, answers) == pytest.approx(judge.stats[0], abs=1e-6)
    assert METRICS["map50"].value(truth, answers) == pytest.approx(judge.stats[1], abs=1e-6)
    assert 0.05 < judge.stats[0] < 0.9
