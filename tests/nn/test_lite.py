"""EfficientNet-Lite0: its graph answers like the net, and its weights know what things are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assay.model.graph import Port, Scope, encode
from assay.nn.images.lite import CHANNELS, Lite0, pretrained
from assay.nn.images.weights import installed
from assay.nn.ops import ScopeOps, TorchOps


def test_the_maps_have_the_promised_strides_and_channels() -> None:
    found = Lite0(head=False).maps(TorchOps(), torch.zeros(1, 3, 64, 64), (2, 4, 8, 16, 32))
    assert [tuple(m.shape[1:]) for m in found] == [(c, 64 // s, 64 // s) for s, c in CHANNELS.items()]


def test_the_graph_answers_like_the_net_at_even_and_odd_sizes() -> None:
    import onnxruntime

    net = pretrained() if installed() else Lite0().eval()
    scope = Scope()
    ops = ScopeOps(scope)
    graph = scope.graph(net.pooled(ops, ops.pixels("image")))
    model = encode(graph, [Port("image", "uint8", ["N", "s", "s", 3])], [Port(graph.output, "float32", ["N", None])])
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for side in (64, 75):
        x = np.random.default_rng(side).integers(0, 256, (2, side, side, 3), np.uint8)
        with torch.inference_mode():
            own = net(torch.from_numpy(x).permute(0, 3, 1, 2).float()).numpy()
        np.testing.assert_allclose(session.run(None, {"image": x})[0], own, atol=2e-4)


def test_the_features_of_several_stages_are_the_same_in_the_graph() -> None:
    import onnxruntime

    net, side = Lite0().eval(), 96
    scope = Scope()
    ops = ScopeOps(scope)
    graph = scope.graph(net.several(ops, ops.resized(ops.pixels("image"), side), side))
    model = encode(graph, [Port("image", "uint8", ["N", "s", "s", 3])], [Port(graph.output, "float32", ["N", None])])
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 3), np.uint8)
    own = TorchOps()
    with torch.inference_mode():
        pixels = own.resized(torch.from_numpy(x).permute(0, 3, 1, 2).float(), side)
        expected = net.several(own, pixels, side).numpy()
    assert expected.shape == (2, 1280 + 320 + 4 * 112 + 40)
    np.testing.assert_allclose(session.run(None, {"image": x})[0], expected, atol=2e-4)


def test_later_stages_are_nearer_to_the_answer() -> None:
    net = Lite0()
    depths = [net.depth_of(name) for name, _ in net.named_parameters()]
    assert depths == sorted(depths, reverse=True) and depths[0] == 7 and depths[-1] == 0


@pytest.mark.skipif(not installed(), reason="the package of weights is not installed")
def test_the_weights_tell_a_flower_from_a_temple() -> None:
    """Cosines of features: two views of one picture are nearer to each other than to another picture."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    net, views = pretrained(), []
    for picture in load_sample_images().images:
        image = Image.fromarray(picture)
        views += [image.resize((96, 96)), image.crop((60, 30, 600, 400)).resize((96, 96))]
    x = torch.from_numpy(np.stack([np.asarray(v) for v in views])).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        f = torch.nn.functional.normalize(net(x))
    near = f @ f.T
    assert min(near[0, 1], near[2, 3]) > max(near[0, 2], near[0, 3], near[1, 2], near[1, 3]) + 0.1
