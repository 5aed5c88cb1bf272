"""A PixelCNN around a mixture's point: nothing is seen before its time, and a step of the graph is the network's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from assay.generation.parts import Pictures
from assay.generation.pixels import FILLINGS, fillings, fit_levels
from assay.testing.context import ToyContext
from search_spaces.generative import mixture_pixel_cnn
from search_spaces.generative._curves import CURVES, as_seen, curve_nats
from search_spaces.generative.mixture_pixel_cnn import MixturePixelConfig, WrittenMixture, _net, family

SIZE = 8


def pictures(channels: int, n: int = 90) -> Pictures:
    """A bright square somewhere, every value of its own."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 40, (n, SIZE, SIZE, channels))
    for i, (top, left) in enumerate(rng.integers(0, 5, (n, 2))):
        x[i, top : top + 3, left : left + 3] += rng.integers(100, 200, channels)
    x, y = x.astype(np.uint8), rng.integers(0, 2, n)
    return Pictures(x[:60], y[:60], x[60:], y[60:], 2)


def half_written(generator: WrittenMixture, channels: int) -> tuple[Any, dict[str, np.ndarray], torch.Tensor]:
    """The graph's run, feeds for a step of four pictures (without "at"), and what the network says of every value."""
    from assay.generation.compose import compose_pictures, session

    composed = compose_pictures(generator, SIZE, channels, ("a", "b"), "side", np.array([0.5, 0.5]))
    rng = np.random.default_rng(0)
    codes = rng.integers(0, len(generator.levels), (4, SIZE, SIZE, channels))
    noise = rng.standard_normal((4, generator.noise), np.float32)
    uniform = rng.random((4, 1 + generator.uniform), np.float32)
    mixture = generator.mixture
    inner = (mixture.points.means[0] + noise @ mixture.points.lower[0].T).astype(np.float32)
    shown = ((mixture.mean + inner @ mixture.directions.T) / 127.5 - 1).reshape(4, SIZE, SIZE, channels)
    with torch.no_grad():
        said = generator.net(*(torch.from_numpy(a) for a in (codes, shown.astype(np.float32), inner * generator.scale)))
    feeds = {"picture_so_far": codes, "uniform": uniform, "given": np.full(4, 1), "noise": noise}
    return session(composed.encoded()), feeds, said


@pytest.mark.parametrize("channels", [1, 3])
def test_a_value_depends_on_those_before_it_alone(channels: int) -> None:
    torch.manual_seed(0)
    net = _net(MixturePixelConfig(), SIZE, channels, 4, 5).eval()
    codes = torch.from_numpy(np.random.default_rng(0).integers(0, 4, (1, SIZE, SIZE, channels)))
    shown, point = torch.randn(1, SIZE, SIZE, channels), torch.randn(1, 5)
    before = net(codes, shown, point).reshape(SIZE, SIZE, channels, 4)
    row, column, channel = 2, 3, channels - 1
    changed = codes.clone()
    changed[0, row, column, channel] = (changed[0, row, column, channel] + 1) % 4
    moved = (net(changed, shown, point).reshape(SIZE, SIZE, channels, 4) - before).abs().amax(3) > 1e-6
    place = np.arange(SIZE * SIZE * channels).reshape(SIZE, SIZE, channels)
    assert not moved.numpy()[place <= place[row, column, channel]].any()
    assert moved.numpy()[row, column + 1].any() and moved.numpy()[row + 1, column].any()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_step_of_the_graph_draws_as_the_network_says_wherever_it_is(channels: int) -> None:
    generator: WrittenMixture = family.fit(
        MixturePixelConfig(components=1, writing="shares"), pictures(channels), ToyContext(max_steps=2)
    )
    run, feeds, logits = half_written(generator, channels)
    p, codes, uniform = generator.steps, feeds["picture_so_far"], feeds["uniform"]
    sums = torch.softmax(logits.reshape(4, p, len(generator.levels)), 2).cumsum(2).numpy()
    for at in (0, SIZE * channels - 1, p // 2 + 1, p - 1):
        after, image = run(["next", "image"], feeds | {"at": np.array([at])})
        expected = codes.reshape(4, p).copy()
        expected[:, at] = (uniform[:, 2 + at, None] >= sums[:, at, :-1]).sum(1)
        np.testing.assert_array_equal(after.reshape(4, p), expected)
        values = generator.levels.encode(image[..., :channels]).reshape(-1, p)
        np.testing.assert_array_equal(values, expected[: 4 if at == p - 1 else 0])  # nothing before it is wanted


def test_a_merged_level_is_filled_with_the_values_there_are() -> None:
    x = np.array([0] * 50 + [3] * 50 + list(range(100, 256)), np.uint8)
    levels = fit_levels(x)
    found = fillings(x, levels)
    assert not levels.exact and found.shape == (len(levels), FILLINGS)
    assert found[0].tolist() == [0] * 8 + [3] * 8
    assert (np.diff(found[-2].astype(int)) >= 0).all() and len(set(found[-2])) > 4


def test_training_is_cut_to_the_time_and_comes_to_its_end() -> None:
    ctx = ToyContext(seconds=4.0)
    family.fit(MixturePixelConfig(epochs=100, schedule="cosine"), pictures(1), ctx)
    assert 1 <= len(ctx.reports) <= 100 and ctx.seconds_left() > 0


def test_what_drawing_will_take_is_left_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixture_pixel_cnn, "_seconds_of_drawing", lambda found, data: 1e6)
    ctx = ToyContext(seconds=60.0)
    found = family.fit(MixturePixelConfig(epochs=100), pictures(1), ctx)
    assert len(ctx.reports) == 2 and found.calm == 1.0


@pytest.mark.parametrize("channels", [1, 3])
def test_a_step_of_curves_draws_as_the_network_says(channels: int) -> None:
    generator: WrittenMixture = family.fit(
        MixturePixelConfig(components=1), pictures(channels), ToyContext(max_steps=2)
    )
    assert generator.curved and len(generator.levels) == 256
    run, feeds, found = half_written(generator, channels)
    p, codes, uniform = generator.steps, feeds["picture_so_far"], feeds["uniform"]
    logits, mean, scale = found.reshape(4, p, 3, CURVES).double().unbind(2)
    sums = torch.softmax(logits, 2).cumsum(2).numpy()
    for at in (0, SIZE * channels - 1, p // 2 + 1, p - 1):
        after, image = run(["next", "image"], feeds | {"at": np.array([at])})
        curve = (uniform[:, 2 + at, None] >= sums[:, at, :-1]).sum(1)
        u = uniform[:, 2 + p + at].astype(np.float64)
        value = mean[range(4), at, curve].numpy() + generator.calm * np.exp(
            scale[range(4), at, curve].numpy()
        ) * np.log(u / (1 - u))
        expected = codes.reshape(4, p).copy()
        expected[:, at] = np.clip(np.round((value + 1) * 127.5), 0, 255)
        assert np.abs(after.reshape(4, p) - expected).max() <= 1  # rounding
        drawn = after[: 4 if at == p - 1 else 0].reshape(-1, p)
        np.testing.assert_array_equal(image[..., :channels].reshape(-1, p), drawn)


def test_a_curve_has_a_share_of_every_value_and_they_sum_to_one() -> None:
    torch.manual_seed(0)
    found = torch.randn(1, 3 * CURVES).repeat(256, 1)
    nats = [float(curve_nats(found[:1], v[None])) for v in torch.arange(256) * (2 / 255) - 1]
    assert np.exp(-np.array(nats)).sum() == pytest.approx(1.0, abs=1e-3)


def test_what_follows_in_a_straight_line_is_known_from_the_start() -> None:
    """The second channel is the first one plus a constant: its curves are narrow before any training."""
    rng = np.random.default_rng(0)
    first = rng.integers(30, 200, (40, SIZE, SIZE, 1))
    x = np.concatenate([first, first + 20, rng.integers(0, 255, first.shape)], 3).astype(np.uint8)
    torch.manual_seed(0)
    net = _net(MixturePixelConfig(), SIZE, 3, 256, 5, curved=True)
    codes, shown = torch.from_numpy(x.astype(np.int64)), torch.zeros(40, SIZE, SIZE, 3)
    net.start(codes, shown, rng)
    assert float(net.left[1]) < 0.02 < 0.3 < float(net.left[0])
    found = net(codes, shown, torch.zeros(40, 5)).detach().reshape(-1, 3, 3 * CURVES)
    values = as_seen(codes.reshape(-1, 3), 256)
    each = [float(curve_nats(found[:, c], values[:, c].float())) for c in range(3)]
    assert each[1] < each[0] - 2 and each[1] < each[2] - 2
