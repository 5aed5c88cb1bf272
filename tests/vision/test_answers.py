"""Boxes and masks come back in pixels of the picture that was sent."""

from __future__ import annotations

import base64
import io

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from assay.data.images.outlines import decode_runs
from assay.errors import DataError
from assay.metrics.detection import overlaps
from assay.model.graph import Port, Scope, encode
from assay.vision.answers import boxes_answers, mask_answers, original_mask
from assay.vision.decode import LEAST_SCORE, MOST, OVERLAP, Decoder, unlike
from assay.vision.truth import drawn_mask, picture_size, read_things, things_of


def test_boxes_are_scaled_by_the_longer_side_and_cut_to_the_picture() -> None:
    outputs = {
        "boxes": np.array([[[0, 0, 32, 64], [10, 10, 20, 20]]], np.float32), "scores": np.array([[0.9, 0.0]], np.float32),
        "labels": np.array([[1, 0]]), "size": np.array([[128, 100]]),
    }  # fmt: skip
    (answer,) = boxes_answers(outputs, ("a", "b"), 64)
    assert answer["size"] == [128, 100]
    assert answer["value"] == [{"label": "b", "score": pytest.approx(0.9), "box": [0.0, 0.0, 64.0, 100.0]}]


def test_runs_and_png_of_a_mask_say_the_same_at_the_size_of_the_picture() -> None:
    square = np.zeros((32, 32), np.uint8)
    square[4:12, 8:16] = 2
    square[20:] = 1  # below the letterbox's picture: not seen
    outputs = {"mask": square[None], "size": np.array([[64, 40]])}
    (answer,) = mask_answers(outputs, ("nothing", "bar", "thing"), 32)
    value = answer["value"]
    assert value["size"] == [40, 64] and set(value["counts"]) == {"nothing", "thing"}
    mask = decode_runs({"size": value["size"], "counts": value["counts"]["thing"]})
    assert mask[8:24, 16:32].all() and mask.sum() == 16 * 16
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(value["png"]))))
    np.testing.assert_array_equal(picture == 2, mask)


def test_a_picture_that_cannot_be_read_has_no_boxes_and_no_mask() -> None:
    outputs = {
        "boxes": np.ones((1, 1, 4)),
        "scores": np.ones((1, 1)),
        "labels": np.zeros((1, 1), int),
        "size": np.zeros((1, 2)),
    }
    assert boxes_answers(outputs, ("a",), 32)[0]["value"] == []
    (answer,) = mask_answers({"mask": np.zeros((1, 32, 32), np.uint8), "size": np.zeros((1, 2))}, ("a", "b"), 32)
    assert answer["value"]["counts"] == {} and answer["value"]["png"] == ""
    assert picture_size(b"no picture") == (0, 0)


def test_the_graph_decodes_as_the_reference_does() -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.7, (3, 50, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.05, 0.3, (3, 50, 2))], 2)
    dense = np.concatenate([boxes, rng.uniform(0, 1, (3, 50, 2))], 2).reshape(3, -1).astype(np.float32)
    decoder, scope = Decoder(2, 64), Scope()
    names = decoder.emit(scope, "x")
    ports = [
        Port(n, t, [None, None, 4][:k])
        for n, t, k in zip(names, ("float32", "float32", "int64"), (3, 2, 2), strict=True)
    ]
    onnx = encode(scope.graph(names[0]), [Port("x", "float32", [None, dense.shape[1]])], ports)
    found = onnxruntime.InferenceSession(onnx).run(list(names), {"x": dense})
    expected = decoder.found(dense)
    assert unlike(expected, *found, 64) == 0
    for i, e in enumerate(expected):
        n = len(e.scores)
        np.testing.assert_allclose(found[1][i][:n], e.scores, atol=1e-6)
        np.testing.assert_allclose(found[0][i][:n] / 64, e.boxes, atol=1e-5)
        np.testing.assert_array_equal(found[2][i][:n], e.labels)
        assert not found[1][i][n:].any()
    assert unlike(expected, found[0][::-1], found[1][::-1], found[2][::-1], 64) > 0


def test_a_cell_that_is_no_list_of_boxes_is_told_with_its_row() -> None:
    for text in ("no json", '[{"box": [1, 2, 3, 4]}]', '[{"label": "a", "box": [1, 2]}]'):
        with pytest.raises(DataError, match="row 3 of 'boxes'") as caught:
            read_things(text, 2)
        assert caught.value.row == 3


def test_things_are_in_shares_of_the_longer_side_and_outlines_fill_the_square() -> None:
    read = [
        {"label": "a", "box": [0, 0, 50, 20], "polygons": [[0, 0, 50, 0, 50, 20, 0, 20]]},
        {"label": "a", "box": [90, 0, 20, 10], "crowd": True},
    ]
    found = things_of(read, ("a",), (100, 40))
    np.testing.assert_allclose(found.boxes, [[0, 0, 0.5, 0.2], [0.9, 0, 1.0, 0.1]])
    assert found.ignored.tolist() == [False, True]
    mask = drawn_mask(read, ("nothing", "a"), (100, 40), 50)
    assert (mask[:10, :25] == 1).all() and (mask[12:20, :40] == 0).all() and (mask[20:] == 255).all()


def test_boxes_are_suppressed_as_by_comparing_all_with_all() -> None:
    rng = np.random.default_rng(0)
    corner = rng.random((300, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.02, 0.4, (300, 2))], 1)
    scores = np.sort(rng.random(300))[::-1]
    dense = np.concatenate([boxes, scores[:, None]], 1).reshape(1, -1)
    iou, left, kept = overlaps(boxes, boxes), np.ones(300, bool), []
    for i in range(300):
        if left[i] and len(kept) < MOST:
            kept.append(i)
            left &= iou[i] <= OVERLAP
    (found,) = Decoder(1, 64).found(dense)
    np.testing.assert_allclose(found.boxes, boxes[[i for i in kept if scores[i] > LEAST_SCORE]].astype(np.float32))
    assert 10 < len(found.boxes) < 250


def test_the_mask_of_an_outline_comes_back_as_large_as_it_was() -> None:
    width, height, side = 640, 480, 192
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    outline = np.stack([300 + 90 * np.cos(angle), 200 + 60 * np.sin(angle)], 1).ravel().tolist()
    thing = {"label": "disc", "box": [210, 140, 180, 120], "polygons": [outline]}
    square = drawn_mask([thing], ("background", "disc"), (width, height), side)
    y, x = np.mgrid[:height, :width] + 0.5
    truth = ((x - 300) / 90) ** 2 + ((y - 200) / 60) ** 2 < 1
    found = original_mask(square, (width, height)) == 1
    assert (truth & found).sum() / (truth | found).sum() > 0.98
    assert abs(found.sum() / truth.sum() - 1) < 0.01


def test_classes_keep_their_places_when_a_mask_grows() -> None:
    square = np.zeros((8, 8), np.uint8)
    square[:4, 4:], square[4:, :4], square[4:, 4:] = 3, 255, 7
    grown = original_mask(square, (32, 32))
    np.testing.assert_array_equal(grown[2::4, 2::4], square)
    assert set(np.unique(grown)) == {0, 3, 7, 255}
    np.testing.assert_array_equal(original_mask(np.full((8, 8), 5, np.uint8), (20, 10)), np.full((10, 20), 5))
