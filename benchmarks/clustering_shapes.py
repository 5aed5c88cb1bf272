"""Shapes of clusters to try clusterings on: every function draws (x, truth), float64 (n, d) and int64 (n,); -1 is noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Drawn = tuple[np.ndarray, np.ndarray]
Shape = Callable[[np.random.Generator], Drawn]


def _join(*parts: np.ndarray) -> Drawn:
    return np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(p) for p in parts])


def _blob(rng: np.random.Generator, n: int, at: tuple[float, ...], spread: float = 1.0) -> np.ndarray:
    return rng.normal(size=(n, len(at))) * spread + np.array(at)


def _apart(rng: np.random.Generator, k: int, d: int, least: float, box: float) -> np.ndarray:
    """k centres at least `least` apart, in a box that grows until they fit."""
    found: list[np.ndarray] = []
    tries = 0
    while len(found) < k:
        c = rng.uniform(-box, box, d)
        tries += 1
        if tries > 200:
            box, tries = box * 1.1, 0
        if all(np.linalg.norm(c - f) >= least for f in found):
            found.append(c)
    return np.array(found)


def blobs(rng: np.random.Generator) -> Drawn:
    k = int(rng.integers(2, 9))
    c = _apart(rng, k, 2, 4.5, 6)
    return _join(*(_blob(rng, 90, tuple(p)) for p in c))


def overlapping(rng: np.random.Generator) -> Drawn:
    k = int(rng.integers(3, 7))
    c = _apart(rng, k, 2, 3.2, 4)
    return _join(*(_blob(rng, 110, tuple(p)) for p in c))


def many_blobs(rng: np.random.Generator) -> Drawn:
    k = int(rng.integers(15, 32))
    c = _apart(rng, k, 2, 5.0, 12)
    return _join(*(_blob(rng, 36, tuple(p)) for p in c))


def rings_of_blobs(rng: np.random.Generator) -> Drawn:
    parts = [_blob(rng, 40, (0, 0), 0.3)]
    for radius in (2.2, 5.5):
        parts += [_blob(rng, 40, (radius * np.cos(a), radius * np.sin(a)), 0.33) for a in np.arange(7) / 7 * 2 * np.pi]
    return _join(*parts)


def sizes(rng: np.random.Generator) -> Drawn:
    c = _apart(rng, 5, 2, 6.0, 8)
    return _join(*(_blob(rng, n, tuple(p)) for n, p in zip((350, 180, 60, 40, 25), c, strict=True)))


def unbalance(rng: np.random.Generator) -> Drawn:
    big = [_blob(rng, 200, (x, y), 0.7) for x, y in ((0, 0), (3.8, 1), (1.5, 4.0))]
    small = [_blob(rng, 22, (14 + 4 * (i % 2), -3 + 4 * (i // 2)), 0.8) for i in range(5)]
    return _join(*big, *small)


def variances(rng: np.random.Generator) -> Drawn:
    return _join(_blob(rng, 200, (0, 0), 0.4), _blob(rng, 200, (5, 0), 1.6), _blob(rng, 150, (0, 7), 0.9))


def anisotropic(rng: np.random.Generator) -> Drawn:
    k = int(rng.integers(3, 6))
    c = _apart(rng, k, 2, 4.2, 6)
    x, y = _join(*(_blob(rng, 130, tuple(p), 0.8) for p in c))
    a = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return x @ turn @ np.diag([1.6, 0.45]) @ turn.T, y


def ellipses(rng: np.random.Generator) -> Drawn:
    parts = []
    for c in _apart(rng, 4, 2, 5.5, 6):
        a = rng.uniform(0, np.pi)
        turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        parts.append(rng.normal(size=(130, 2)) * [2.0, 0.5] @ turn.T + c)
    return _join(*parts)


def crossing(rng: np.random.Generator) -> Drawn:
    a = rng.normal(size=(220, 2)) * [3.0, 0.25]
    b = rng.normal(size=(220, 2)) * [0.25, 3.0]
    return _join(a, b)


def moons(rng: np.random.Generator) -> Drawn:
    from sklearn.datasets import make_moons

    x, y = make_moons(500, noise=rng.uniform(0.03, 0.09), random_state=int(rng.integers(1e6)))
    return x, y


def circles(rng: np.random.Generator) -> Drawn:
    from sklearn.datasets import make_circles

    x, y = make_circles(500, factor=rng.uniform(0.35, 0.55), noise=0.05, random_state=int(rng.integers(1e6)))
    return x, y


def three_circles(rng: np.random.Generator) -> Drawn:
    parts = []
    for n, r in ((100, 1.0), (200, 2.2), (300, 3.4)):
        t = rng.uniform(0, 2 * np.pi, n)
        parts.append(np.column_stack([r * np.cos(t), r * np.sin(t)]) + rng.normal(size=(n, 2)) * 0.1)
    return _join(*parts)


def target(rng: np.random.Generator) -> Drawn:
    t = rng.uniform(0, 2 * np.pi, 350)
    ring = np.column_stack([np.cos(t), np.sin(t)]) * 3 + rng.normal(size=(350, 2)) * 0.12
    corners = [_blob(rng, 12, (sx * 6.0, sy * 6.0), 0.2) for sx in (-1, 1) for sy in (-1, 1)]
    return _join(_blob(rng, 300, (0, 0), 0.4), ring, *corners)


def spirals(rng: np.random.Generator) -> Drawn:
    arms = int(rng.integers(2, 4))
    parts = []
    for i in range(arms):
        t = np.sqrt(rng.uniform(0.05, 1, 200)) * 2.4 * np.pi
        a = t + 2 * np.pi * i / arms
        parts.append(np.column_stack([t * np.cos(a), t * np.sin(a)]) + rng.normal(size=(200, 2)) * 0.16)
    return _join(*parts)


def long_stripes(rng: np.random.Generator) -> Drawn:
    k = int(rng.integers(2, 5))
    return _join(*(np.column_stack([rng.uniform(-6, 6, 160), rng.normal(size=160) * 0.25 + 2.0 * i]) for i in range(k)))


def smile(rng: np.random.Generator) -> Drawn:
    t = rng.uniform(0, 2 * np.pi, 350)
    face = np.column_stack([np.cos(t), np.sin(t)]) * 5 + rng.normal(size=(350, 2)) * 0.12
    m = rng.uniform(1.2 * np.pi, 1.8 * np.pi, 150)
    mouth = np.column_stack([np.cos(m), np.sin(m)]) * 2.8 + rng.normal(size=(150, 2)) * 0.12
    return _join(face, mouth, _blob(rng, 90, (-1.7, 1.7), 0.3), _blob(rng, 90, (1.7, 1.7), 0.3))


def jain(rng: np.random.Generator) -> Drawn:
    t = rng.uniform(0, np.pi, 280)
    a = np.column_stack([np.cos(t) * 3, np.sin(t) * 2]) + rng.normal(size=(280, 2)) * 0.25
    t = rng.uniform(np.pi, 2 * np.pi, 95)
    b = np.column_stack([np.cos(t) * 3 + 3, np.sin(t) * 2 + 0.8]) + rng.normal(size=(95, 2)) * 0.25
    return _join(a, b)


def flame(rng: np.random.Generator) -> Drawn:
    t = rng.uniform(-0.15 * np.pi, 1.15 * np.pi, 160)
    arc = np.column_stack([np.cos(t) * 4, -np.sin(t) * 2.6]) + rng.normal(size=(160, 2)) * 0.45
    return _join(arc, _blob(rng, 110, (0, 1.6), 0.9))


def aggregation(rng: np.random.Generator) -> Drawn:
    parts = [_blob(rng, 170, (0, 0), 1.3), _blob(rng, 130, (9, 1), 1.2), _blob(rng, 100, (9, -7.0), 1.1)]
    parts += [_blob(rng, 60, (0, -7), 0.8), _blob(rng, 50, (3.6, -7.4), 0.7), _blob(rng, 35, (14.0, -2.6), 0.5)]
    return _join(*parts)


def compound(rng: np.random.Generator) -> Drawn:
    t = rng.uniform(0, 2 * np.pi, 110)
    ring = np.column_stack([np.cos(t), np.sin(t)]) * 2.6 + rng.normal(size=(110, 2)) * 0.15
    return _join(
        ring, _blob(rng, 70, (0, 0), 0.45), _blob(rng, 90, (6, 4), 0.7), _blob(rng, 80, (6, 0.6), 0.7),
        _blob(rng, 60, (11, 0), 0.35), _blob(rng, 60, (12.5, 3.5), 0.9),
    )  # fmt: skip


def pathbased(rng: np.random.Generator) -> Drawn:
    t = rng.uniform(-0.15 * np.pi, 1.15 * np.pi, 170)
    arc = np.column_stack([np.cos(t), np.sin(t)]) * 5 + rng.normal(size=(170, 2)) * 0.25
    return _join(arc, _blob(rng, 100, (-1.9, 0), 0.65), _blob(rng, 100, (1.9, 0), 0.65))


def two_diamonds(rng: np.random.Generator) -> Drawn:
    def diamond(n: int, at: float) -> np.ndarray:
        u = rng.uniform(-1, 1, (n, 2))
        return np.column_stack([u[:, 0] + u[:, 1], u[:, 0] - u[:, 1]]) / 2 + [at, 0]

    return _join(diamond(300, -1.03), diamond(300, 1.03))


def wing_nut(rng: np.random.Generator) -> Drawn:
    a = rng.uniform(0, 1, (600, 2)) * [3, 2]
    a = a[rng.random(600) < 0.25 + 0.75 * (a[:, 0] / 3)]
    b = -a + rng.normal(size=a.shape) * 0.05 + [6.6, 1.2]
    return _join(a, b)


def lsun(rng: np.random.Generator) -> Drawn:
    a = rng.uniform(0, 1, (130, 2)) * [4, 0.6]
    b = rng.uniform(0, 1, (130, 2)) * [0.6, 3] + [0, 1.2]
    return _join(a, b, _blob(rng, 140, (3, 3), 0.45))


def rectangles(rng: np.random.Generator) -> Drawn:
    """Uniform boxes of unlike size with gaps."""
    parts, x = [], 0.0
    for _ in range(int(rng.integers(3, 6))):
        w, h = rng.uniform(0.8, 4, 2)
        parts.append(rng.uniform(0, 1, (130, 2)) * [w, h] + [x, rng.uniform(-1, 1)])
        x += w + rng.uniform(0.5, 1.2)
    return _join(*parts)


def grid_windows(rng: np.random.Generator) -> Drawn:
    parts = [rng.uniform(0, 1, (90, 2)) + [1.35 * i, 1.35 * j] for i in range(3) for j in range(2)]
    frame = []
    for _ in range(300):
        t, side = rng.uniform(0, 1), rng.integers(0, 4)
        a, b = -1.0 + t * 5.8, -1.0 + t * 4.4
        frame.append([(a, -1.0), (a, 3.4), (-1.0, b), (4.8, b)][side])
    return _join(*parts, np.array(frame) + rng.normal(size=(300, 2)) * 0.05)


def cross_noise(rng: np.random.Generator) -> Drawn:
    """Dense blobs in a haze of noise."""
    c = _apart(rng, 4, 2, 6, 7)
    x, y = _join(*(_blob(rng, 110, tuple(p), 0.6) for p in c))
    noise = rng.uniform(x.min(0) - 1, x.max(0) + 1, (60, 2))
    return np.concatenate([x, noise]), np.concatenate([y, np.full(60, -1)])


def moons_noise(rng: np.random.Generator) -> Drawn:
    x, y = moons(rng)
    noise = rng.uniform(x.min(0) - 0.3, x.max(0) + 0.3, (40, 2))
    return np.concatenate([x, noise]), np.concatenate([y, np.full(40, -1)])


def mixed_forms(rng: np.random.Generator) -> Drawn:
    x, y = moons(rng)
    return _join(x[y == 0] * 3, x[y == 1] * 3, _blob(rng, 130, (-3, -5), 0.8), _blob(rng, 130, (4, -5.5), 0.5))


def atom(rng: np.random.Generator) -> Drawn:
    v = rng.normal(size=(300, 3))
    shell = v / np.linalg.norm(v, axis=1, keepdims=True) * 5 + rng.normal(size=(300, 3)) * 0.15
    return _join(shell, rng.normal(size=(250, 3)) * 0.6)


def chain_link(rng: np.random.Generator) -> Drawn:
    t = rng.uniform(0, 2 * np.pi, (2, 260))
    noise = rng.normal(size=(2, 260, 3)) * 0.08
    a = np.column_stack([np.cos(t[0]), np.sin(t[0]), np.zeros(260)]) + noise[0]
    b = np.column_stack([1 + np.cos(t[1]), np.zeros(260), np.sin(t[1])]) + noise[1]
    return _join(a, b)


def hepta(rng: np.random.Generator) -> Drawn:
    centres = [(0.0, 0.0, 0.0)] + [tuple(s * 3.0 * np.eye(3)[i]) for i in range(3) for s in (-1, 1)]
    return _join(*(_blob(rng, 40, c, 0.5) for c in centres))


def tetra(rng: np.random.Generator) -> Drawn:
    c = np.array([(1, 1, 1), (-1, -1, 1), (-1, 1, -1), (1, -1, -1)], float)
    parts = []
    for p in c:
        v = rng.normal(size=(110, 3))
        parts.append(v / np.linalg.norm(v, axis=1, keepdims=True) * rng.random((110, 1)) ** (1 / 3) * 1.25 + p)
    return _join(*parts)


def high_dimension(rng: np.random.Generator) -> Drawn:
    d, k = int(rng.integers(8, 25)), int(rng.integers(3, 9))
    c = rng.normal(size=(k, d)) * 1.9
    return _join(*(_blob(rng, 80, tuple(p)) for p in c))


def noise_columns(rng: np.random.Generator) -> Drawn:
    x, y = blobs(rng)
    x = (x - x.mean(0)) / x.std(0)
    return np.hstack([x, rng.normal(size=(len(x), 3)) * 0.5]), y


def ellipsoids(rng: np.random.Generator) -> Drawn:
    """Normal clusters with covariances of their own in a few dimensions, a little overlapping."""
    d, k = int(rng.integers(3, 7)), int(rng.integers(3, 5))
    parts = []
    for c in _apart(rng, k, d, 4.0, 3):
        a = rng.normal(size=(d, d)) * 0.55
        parts.append(rng.normal(size=(110, d)) @ a + c)
    return _join(*parts)


def flowers(rng: np.random.Generator) -> Drawn:
    """One group apart and two that touch, correlated columns."""
    size = rng.normal(size=(3, 60, 1))
    load = np.array([0.45, 0.25, 0.4, 0.13])
    means = np.array([[5.0, 3.4, 1.5, 0.25], [5.9, 2.8, 4.3, 1.3], [6.6, 3.0, 5.6, 2.05]])
    scale = np.array([0.25, 0.22, 0.2, 0.13])
    spread = np.array([0.4, 0.9, 1.0])[:, None, None]
    parts = means[:, None] + size * load * spread + rng.normal(size=(3, 60, 4)) * scale * (0.6 + 0.4 * spread)
    return _join(*parts)


def wines(rng: np.random.Generator) -> Drawn:
    d = 12
    c = rng.normal(size=(3, d)) * 1.15
    mix = np.eye(d) + rng.normal(size=(d, d)) * 0.15
    return _join(*(rng.normal(size=(n, d)) @ mix + p for n, p in zip((60, 70, 48), c, strict=True)))


def tangled(rng: np.random.Generator) -> Drawn:
    """Two interlocking hooks, wide and close."""
    t = rng.uniform(0, 1.35 * np.pi, (2, 420))
    a = np.column_stack([np.cos(t[0]) * 10, np.sin(t[0]) * 10]) + rng.normal(size=(420, 2)) * 0.9
    b = np.column_stack([-np.cos(t[1]) * 10 + 10, -np.sin(t[1]) * 10 + 1]) + rng.normal(size=(420, 2)) * 0.9
    return _join(a, b)


SHAPES: Mapping[str, Shape] = {
    f.__name__: f
    for f in (
        blobs, overlapping, many_blobs, rings_of_blobs, sizes, unbalance, variances, anisotropic, ellipses, crossing, moons,
        circles, three_circles, target, spirals, long_stripes, smile, jain, flame, aggregation, compound, pathbased,
        two_diamonds, wing_nut, lsun, rectangles, grid_windows, cross_noise, moons_noise, mixed_forms, atom, chain_link,
        hepta, tetra, high_dimension, noise_columns, ellipsoids, flowers, wines, tangled,
    )
}  # fmt: skip
