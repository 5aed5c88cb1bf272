"""A Sequential and its nodes answer the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from assay.model.graph import Scope
from assay.nn.sequential import Double, Reshape, emit_sequential
from assay.testing.families import run_graph


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ((nn.Linear(6, 8), nn.BatchNorm1d(8), nn.LeakyReLU(0.2), nn.Dropout(0.5), nn.Linear(8, 3), nn.Tanh()), (6,)),
        ((nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 2), nn.Sigmoid()), (6,)),
        (
            (
                nn.Linear(6, 16), Reshape(4, 2, 2), nn.BatchNorm2d(4), nn.ReLU(), Double(), nn.Conv2d(4, 3, 3, padding=1),
                nn.Conv2d(3, 2, 4, 2, 1), nn.Flatten(),
            ),
            (6,),
        ),
    ],
)  # fmt: skip
def test_the_graph_equals_the_module(layers: tuple[nn.Module, ...], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(*layers)
    module(torch.randn(50, *shape))  # batch statistics other than 0 and 1
    module.eval()
    x = np.random.default_rng(0).normal(size=(7, *shape)).astype(np.float32)
    scope = Scope()
    graph = scope.graph(emit_sequential(scope, module, "x"))
    with torch.no_grad():
        np.testing.assert_allclose(run_graph(graph, x), module(torch.from_numpy(x)).numpy(), atol=1e-5)


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(TypeError, match="LSTM is not a layer"):
        emit_sequential(Scope(), nn.Sequential(nn.LSTM(2, 2)), "x")
