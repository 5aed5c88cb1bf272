"""PixelCNN: nothing is seen before its time, and one step of the graph draws from the network's shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assay.errors import FamilyUnavailable
from assay.generation.parts import Pictures
from assay.testing.context import ToyContext
from assay.testing.generators import _pictures
from search_spaces.generative._causal import causal_mask
from search_spaces.generative.pixel_cnn import PixelCnnConfig, _net, family


@pytest.mark.parametrize("channels", [1, 3])
def test_a_value_depends_on_those_before_it_alone(channels: int) -> None:
    torch.manual_seed(0)
    net = _net(PixelCnnConfig(layers=3, width=18), 6, channels, 4, 2).eval()
    codes = torch.from_numpy(np.random.default_rng(0).integers(0, 4, (1, 6, 6, channels)))
    y = torch.zeros(1, dtype=torch.int64)
    before = net(codes, y).reshape(channels, 4, 6, 6)
    row, column, channel = 2, 3, channels - 1
    changed = codes.clone()
    changed[0, row, column, channel] = (changed[0, row, column, channel] + 1) % 4
    moved = (net(changed, y).reshape(channels, 4, 6, 6) - before).abs().amax(1) > 1e-6  # (C, 6, 6)
    place = np.arange(36 * channels).reshape(6, 6, channels).transpose(2, 0, 1)
    own = place[channel, row, column]
    assert not moved.numpy()[place <= own].any()
    assert moved.numpy()[place > own].any()


def test_the_first_mask_does_not_see_the_value_itself() -> None:
    assert causal_mask(2, 1, 3, 1, own=False)[0, 0].tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert causal_mask(2, 1, 3, 1, own=True)[0, 0].tolist() == [[1, 1, 1], [1, 1, 0], [0, 0, 0]]


def test_one_step_of_the_graph_draws_as_the_network_says() -> None:
    from assay.generation.compose import compose_pictures, session

    generator = family.fit(PixelCnnConfig(layers=2, width=16), _pictures(), ToyContext(max_steps=2))
    composed = compose_pictures(generator, 8, 1, ("left", "right"), "side", np.array([0.5, 0.5]))
    run = session(composed.encoded())
    levels, at = len(generator.levels), 27
    codes = np.random.default_rng(0).integers(0, levels, (5, 8, 8, 1))
    uniform = np.random.default_rng(1).random((5, 65), np.float32)
    feeds = {"picture_so_far": codes, "at": np.array([at]), "uniform": uniform, "given": np.full(5, 1)}
    (after,) = run(["next"], feeds)
    with torch.no_grad():
        logits = generator.net(torch.from_numpy(codes), torch.ones(5, dtype=torch.int64))
    shares = torch.softmax(logits.reshape(5, levels, 64)[:, :, at], 1).cumsum(1).numpy()
    expected = codes.reshape(5, 64).copy()
    expected[:, at] = (uniform[:, 1 + at, None] >= shares[:, :-1]).sum(1)
    np.testing.assert_array_equal(after.reshape(5, 64), expected)


def test_pictures_with_too_many_values_are_refused_with_the_way_out() -> None:
    large = Pictures(*(np.zeros(s, np.uint8) for s in ((9, 28, 28, 1), (9,), (3, 28, 28, 1), (3,))), n_labels=1)
    with pytest.raises(FamilyUnavailable, match="784 steps"):
        family.fit(PixelCnnConfig(), large, ToyContext())
