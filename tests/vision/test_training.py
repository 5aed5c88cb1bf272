"""Training a net over maps, and asking it twice."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from assay.model.graph import Port, encode
from assay.nn.conv2d import TORCH, PictureMaps
from assay.nn.detection import Fcos
from assay.nn.pyramids import Scratch
from assay.nn.segmentation import UNet
from assay.testing.context import ToyContext
from assay.training.optim import Rule
from assay.vision.training import Course, MapsPredictor, Plan, _allotted, train

SIDE = 64


def nets() -> list[PictureMaps]:
    torch.manual_seed(0)
    unet = UNet(3, 1, 0.1, 8, 2, 2)
    unet.across = SIDE
    return [Fcos(2, SIDE, 1, Scratch((8, 8, 8, 16, 16), 1, 3), 16, 1).eval(), unet.eval()]


@pytest.mark.parametrize("net", nets(), ids=["detector", "segmenter"])
def test_a_mirrored_picture_has_the_mirrored_answer_in_training_and_graph(net: PictureMaps) -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3)).astype(np.uint8)
    twice = MapsPredictor(net, Course(1, 1), mirrored=True)
    answer = twice.predict(x)
    assert np.abs(answer - MapsPredictor(net, Course(1, 1)).predict(x)).max() > 1e-4
    other = torch.from_numpy(twice.predict(np.ascontiguousarray(x[:, :, ::-1])))
    with torch.inference_mode():
        assert np.abs(answer - net.turned_back(TORCH, other).numpy()).max() < 1e-5
    graph = twice.to_onnx("x")
    model = encode(graph, [Port("x", "uint8", ["N", SIDE, SIDE, 3])], [Port(graph.output, "float32", ["N", None])])
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert np.abs(session.run(None, {"x": x})[0] - answer).max() < 1e-4


@pytest.mark.parametrize("judges", [0, 4])
def test_without_judges_the_end_of_all_epochs_is_kept(judges: int) -> None:
    net = torch.nn.Linear(2, 1)
    x = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    told: list[float] = []

    def score(module: torch.nn.Module) -> float:
        told.append(-float(len(told)))  # the first validation was the best one
        return told[-1]

    course = train(
        net, 16, lambda rows, rng: (x[torch.from_numpy(rows)], None), lambda x, _: (net(x) - x.sum(1, keepdim=True)).pow(2).mean(),
        score, Plan(Rule("adam", 1e-2), "cosine", 24, 4), ToyContext(), judges,
    )  # fmt: skip
    assert course.ran == 24
    assert (course.best == 24) == (judges == 0)
    assert bool(told) == (judges > 0)


@pytest.mark.parametrize(
    ("left", "whole"), [(60.0, 60.0), (113.0, 113.0), (167.0, 100.0), (340.0, 136.0), (np.inf, np.inf)]
)
def test_a_fit_takes_all_the_time_that_another_one_could_not_use(left: float, whole: float) -> None:
    assert _allotted(left) == whole
