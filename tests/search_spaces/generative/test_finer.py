"""What lies between the places of a coarse picture: taught and drawn from what is known by then, as the networks say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assay.generation.compose import compose_pictures, session
from assay.generation.draw import draw
from assay.generation.parts import Inputs, Pictures
from assay.model.graph import Port, Scope, encode
from assay.testing.context import ToyContext
from search_spaces.generative import mixture_pixel_cnn
from search_spaces.generative._curves import CURVES
from search_spaces.generative._finer import CORNERS, EDGE, GROUPS, Finer, Places, coarse_step
from search_spaces.generative.mixture_pixel_cnn import MixturePixelConfig, WrittenMixture, family

SIZE = 16


def pictures(channels: int, n: int = 80, values: int = 256) -> Pictures:
    """Slopes in two directions, of as many values."""
    rng = np.random.default_rng(0)
    place = np.arange(SIZE) / SIZE
    slopes = rng.uniform(-0.5, 0.5, (n, 2, channels, 1, 1))
    x = 0.5 + slopes[:, 0] * place + slopes[:, 1] * place[:, None] + rng.normal(0, 0.01, (n, channels, SIZE, SIZE))
    x = np.round(x.clip(0, 1) * (values - 1)) * (255 // (values - 1))
    x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).astype(np.uint8)
    return Pictures(x[:60], np.zeros(60, int), x[60:], np.zeros(n - 60, int), 1)


@pytest.mark.parametrize(("size", "step"), [(8, 2), (12, 2), (16, 4), (20, 4), (24, 4), (28, 4), (32, 8), (6, 1)])
def test_a_coarse_picture_has_four_to_seven_places_a_side(size: int, step: int) -> None:
    assert coarse_step(size) == step


def test_a_group_sees_what_was_written_before_it() -> None:
    """Every place of a window is of the coarse picture or of an earlier group, and lies where it is said to."""
    codes = np.arange(2 * 8 * 8).reshape(2, 8, 8, 1)
    drawn = Places.of(codes, 2).draw(50, np.random.default_rng(0))
    assert len(drawn) == len(GROUPS)
    for g, (windows, (seen, row, column, own)) in enumerate(zip(GROUPS, drawn, strict=True)):
        i = own[:, 0] // 64
        top, left = 2 * row + CORNERS[g + 1][0], 2 * column + CORNERS[g + 1][1]
        assert torch.equal(own[:, 0].long(), i * 64 + top * 8 + left)
        at = 0
        for k, rows, columns in windows:
            assert k <= g and max(abs(r) for r in (*rows, *columns)) <= EDGE
            h, w = (torch.tensor([list(r)]) for r in (rows, columns))
            y = 2 * (row[:, None] + h).clamp(0, 3) + CORNERS[k][0]
            x = 2 * (column[:, None] + w).clamp(0, 3) + CORNERS[k][1]
            expected = (i[:, None, None] * 64 + y[:, :, None] * 8 + x[:, None]).flatten(1)
            assert torch.equal(seen[:, at : at + expected.shape[1]].long(), expected)
            at += expected.shape[1]


@pytest.mark.parametrize(("channels", "curved"), [(1, True), (3, True), (1, False), (3, False)])
def test_the_graph_draws_as_the_networks_say(channels: int, curved: bool) -> None:
    """Every value is looked up again from the finished picture, which holds what its network saw."""
    torch.manual_seed(0)
    size, n_levels, n = 8, 256 if curved else 5, 3
    finer, rng = Finer(size, channels, 12, n_levels, curved), np.random.default_rng(0)
    for p in finer.parameters():
        p.data += 0.2 * torch.randn_like(p)
    scope = Scope()
    inputs = Inputs(scope, "noise", "uniform", "given")
    whole = finer.emit(inputs, "codes", "uniform", 0.8)
    ports = [Port("codes", "int64", ("N", 4, 4, channels)), Port("uniform", "float32", ("N", finer.uniform))]
    run = session(encode(scope.graph(whole), ports, [Port(whole, "int64", ("N", size, size, channels))]))
    coarse = rng.integers(0, n_levels, (n, 4, 4, channels))
    uniform = rng.random((n, finer.uniform), np.float32)
    found = run([whole], {"codes": coarse, "uniform": uniform})[0]
    np.testing.assert_array_equal(found[:, ::2, ::2], coarse)
    edge = ((0, 0), (EDGE, EDGE), (EDGE, EDGE), (0, 0))
    grids = [np.pad(found[:, a::2, b::2], edge, "edge") for a, b in CORNERS]
    i, row, column = (x.ravel() for x in np.meshgrid(range(n), range(4), range(4), indexing="ij"))
    per = 2 if curved else 1
    numbers = uniform.reshape(n, len(GROUPS), 16, per, channels)
    for g, windows in enumerate(GROUPS):
        seen = np.concatenate(
            [grids[k][i, row + EDGE + a, column + EDGE + b] for k, rows, cols in windows for a in rows for b in cols], 1
        )
        own = grids[g + 1][i, row + EDGE, column + EDGE]
        parts = [finer._seen(torch.from_numpy(x)) for x in (seen, own)]
        with torch.no_grad():
            said = finer.groups[g](parts[0], torch.from_numpy(row), torch.from_numpy(column), parts[1]).double()
        u = numbers[:, g].reshape(-1, per, channels)
        sums = torch.softmax(said[..., :CURVES] if curved else said, 2).cumsum(2).numpy()
        pick = (u[:, 0, :, None] >= sums[..., :-1]).sum(2)
        if not curved:
            np.testing.assert_array_equal(own, pick)
            continue
        mean, scale = (np.take_along_axis(x.numpy(), pick[..., None], 2)[..., 0] for x in said.split(CURVES, 2)[1:])
        v = u[:, 1].astype(np.float64)
        value = mean + 0.8 * np.exp(np.maximum(scale, -7)) * np.log(v / (1 - v))
        expected = np.clip(np.round((value + 1) * 127.5), 0, 255)
        assert np.abs(own - expected).max() <= 1  # rounding


@pytest.mark.parametrize(("channels", "values", "writing"), [(3, 256, "auto"), (1, 4, "auto"), (1, 256, "shares")])
def test_pictures_are_drawn_coarse_first_and_go_on_between(channels: int, values: int, writing: str) -> None:
    data = pictures(channels, values=values)
    epochs = 8 if values == 256 and writing == "auto" else 60
    config = MixturePixelConfig(order="scales", components=1, epochs=epochs, writing=writing, batch_size=16)
    generator: WrittenMixture = family.fit(config, data, ToyContext())
    assert generator.finer and generator.shape == (4, 4, channels) and generator.steps == 16 * channels
    composed = compose_pictures(generator, SIZE, channels, (), None, np.ones(1))
    assert composed.spec["loop"]["shape"] == [4, 4, channels]
    drawn = draw(session(composed.encoded()), composed.spec, 64, 0, {})["image"][..., :channels].astype(float)
    assert drawn.shape == (64, SIZE, SIZE, channels)
    if values < 256:
        assert set(np.unique(drawn)) <= set(np.unique(data.x))
    # a place lies between its neighbours on slopes, whichever of them came first
    for axis, first in ((1, 1), (1, 2), (2, 1), (2, 2)):
        x = np.moveaxis(drawn, axis, 1)[:, first - 1 : first + 2]
        assert np.abs(x[:, 1] - (x[:, 0] + x[:, 2]) / 2).mean() < 0.4 * drawn.std()


@pytest.mark.parametrize(
    ("order", "times", "scaled"),
    [("auto", 1, False), ("scales", 1, True), ("auto", 2, True), ("raster", 2, False)],
)
def test_many_values_are_written_in_scales_unless_asked_otherwise(order: str, times: int, scaled: bool) -> None:
    data = pictures(3)
    x, x_valid = (p[:20].repeat(times, 1).repeat(times, 2) for p in (data.x, data.x_valid))
    data = Pictures(x[:, :28, :28], data.y[:20], x_valid[:, :28, :28], data.y_valid, 1)
    config = MixturePixelConfig(order=order, components=1, epochs=1)
    assert (family.fit(config, data, ToyContext()).finer is not None) == scaled


def test_what_drawing_will_take_is_left_over(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[int] = []

    def seconds(found: WrittenMixture, data: Pictures) -> float:
        assert found.finer
        timed.append(len(data.x))
        return 1e6

    monkeypatch.setattr(mixture_pixel_cnn, "_seconds_of_drawing", seconds)
    ctx = ToyContext(seconds=600.0)
    found = family.fit(MixturePixelConfig(order="scales", epochs=400, components=1), pictures(1), ctx)
    assert timed == [60] and len(ctx.reports) == 2 and found.calm == 1.0
