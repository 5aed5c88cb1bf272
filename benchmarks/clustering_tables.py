"""Clusters as tables have them: overlapping, of several columns, skewed, in steps.  Functions as in `clustering_shapes`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.clustering_shapes import Drawn, Shape


def _sizes(rng: np.random.Generator, k: int, n: int) -> np.ndarray:
    """Rows a cluster: even, or uneven to a degree."""
    share = rng.dirichlet(np.full(k, rng.choice([2.0, 6.0, 1000.0])))
    return np.maximum(14, np.round(share * n)).astype(int)


def _normal(rng: np.random.Generator, means: np.ndarray, roots: list[np.ndarray], n: int) -> Drawn:
    sizes = _sizes(rng, len(means), n)
    x = np.concatenate([rng.normal(size=(m, a.shape[0])) @ a + c for m, a, c in zip(sizes, roots, means, strict=True)])
    return x, np.repeat(np.arange(len(means)), sizes)


def _root(rng: np.random.Generator, d: int, stretch: float) -> np.ndarray:
    """A square root of a covariance with deviations of exp(+-stretch) in random directions."""
    q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    return np.asarray(np.diag(np.exp(rng.uniform(-stretch, stretch, d))) @ q)


def _n(rng: np.random.Generator) -> int:
    return int(rng.integers(250, 750))


def round_2d(rng: np.random.Generator) -> Drawn:
    k = int(rng.integers(2, 11))
    means = rng.uniform(-10, 10, (k, 2))
    return _normal(rng, means, [np.eye(2) * rng.uniform(0.7, 1.3) for _ in range(k)], _n(rng))


def round_unlike_2d(rng: np.random.Generator) -> Drawn:
    k = int(rng.integers(2, 8))
    means = rng.uniform(-9, 9, (k, 2))
    return _normal(rng, means, [np.eye(2) * rng.uniform(0.4, 2.6) for _ in range(k)], _n(rng))


def oblong_2d(rng: np.random.Generator) -> Drawn:
    k = int(rng.integers(2, 8))
    return _normal(rng, rng.uniform(-9, 9, (k, 2)), [_root(rng, 2, 1.0) for _ in range(k)], _n(rng))


def sheared(rng: np.random.Generator) -> Drawn:
    """Round clusters of two to five columns under one linear map."""
    d, k = int(rng.integers(2, 6)), int(rng.integers(2, 7))
    means = rng.normal(size=(k, d)) * rng.uniform(2.2, 4.5)
    x, y = _normal(rng, means, [np.eye(d)] * k, _n(rng))
    return x @ _root(rng, d, 1.0) @ rng.normal(size=(d, d)), y


def oblong(rng: np.random.Generator) -> Drawn:
    d, k = int(rng.integers(3, 21)), int(rng.integers(2, 8))
    means = rng.normal(size=(k, d)) * rng.uniform(1.2, 3.0)
    return _normal(rng, means, [_root(rng, d, 0.7) for _ in range(k)], max(_n(rng), 15 * k))


def round_wide(rng: np.random.Generator) -> Drawn:
    d, k = int(rng.integers(5, 80)), int(rng.integers(2, 11))
    means = rng.normal(size=(k, d)) * rng.uniform(2.5, 6.0) / np.sqrt(d) * 1.4
    return _normal(rng, means, [np.eye(d) * rng.uniform(0.6, 1.4) for _ in range(k)], _n(rng))


def few_telling(rng: np.random.Generator) -> Drawn:
    """Clusters in a few columns, the others noise."""
    d, more, k = int(rng.integers(2, 6)), int(rng.integers(2, 11)), int(rng.integers(2, 6))
    x, y = _normal(rng, rng.normal(size=(k, d)) * rng.uniform(2.5, 5), [np.eye(d)] * k, _n(rng))
    return np.hstack([x, rng.normal(size=(len(x), more)) * rng.uniform(0.5, 1.5, more)]), y


def bent(rng: np.random.Generator) -> Drawn:
    """Clusters of a few hidden numbers, seen through a random smooth map to more columns."""
    h, d, k = int(rng.integers(2, 5)), int(rng.integers(4, 17)), int(rng.integers(2, 7))
    z, y = _normal(
        rng, rng.normal(size=(k, h)) * rng.uniform(1.8, 3.5), [_root(rng, h, 0.4) for _ in range(k)], _n(rng)
    )
    seen = np.tanh(z @ rng.normal(size=(h, 12)) * 0.35 + rng.normal(size=12) * 0.5) @ rng.normal(size=(12, d))
    return seen + rng.normal(size=seen.shape) * 0.12 * seen.std(0), y


def skewed(rng: np.random.Generator) -> Drawn:
    d, k = int(rng.integers(2, 9)), int(rng.integers(2, 6))
    x, y = _normal(
        rng, rng.normal(size=(k, d)) * rng.uniform(1.8, 3.2), [_root(rng, d, 0.4) for _ in range(k)], _n(rng)
    )
    bend = rng.uniform(0.0, 0.35, d)
    return np.where(bend > 0.05, np.expm1(bend * x) / np.maximum(bend, 0.05), x), y


def heavy(rng: np.random.Generator) -> Drawn:
    """Clusters with tails: normal over the root of a chi-square with four degrees of freedom."""
    d, k = int(rng.integers(2, 7)), int(rng.integers(2, 7))
    means = rng.normal(size=(k, d)) * rng.uniform(4.0, 7.0)
    sizes = _sizes(rng, k, _n(rng))
    parts = [
        rng.normal(size=(m, d)) / np.sqrt(rng.chisquare(4, (m, 1)) / 4) + c for m, c in zip(sizes, means, strict=True)
    ]
    return np.concatenate(parts), np.repeat(np.arange(k), sizes)


def counts(rng: np.random.Generator) -> Drawn:
    d, k = int(rng.integers(4, 16)), int(rng.integers(2, 6))
    rates = rng.gamma(1.2, 5.0, (k, d)) + 0.3
    sizes = _sizes(rng, k, _n(rng))
    x = np.concatenate([rng.poisson(r, (m, d)) for m, r in zip(sizes, rates, strict=True)])
    return x + rng.normal(size=x.shape) * 1e-3, np.repeat(np.arange(k), sizes)


def factors(rng: np.random.Generator) -> Drawn:
    """Measures of things that differ in size: strongly correlated columns, clusters across the common direction."""
    d, k = int(rng.integers(4, 13)), int(rng.integers(2, 5))
    load = rng.uniform(0.5, 1.0, (1, d)) * rng.uniform(0.8, 2.0)
    x, y = _normal(
        rng, rng.normal(size=(k, d)) * rng.uniform(0.9, 1.8), [_root(rng, d, 0.3) * 0.7 for _ in range(k)], _n(rng)
    )
    return x + rng.normal(size=(len(x), 1)) * load, y


def hazy(rng: np.random.Generator) -> Drawn:
    """Normal clusters in a haze of rows that belong nowhere."""
    d, k = int(rng.integers(2, 5)), int(rng.integers(2, 8))
    x, y = _normal(rng, rng.uniform(-10, 10, (k, d)), [_root(rng, d, 0.6) for _ in range(k)], _n(rng))
    m = int(len(x) * rng.uniform(0.03, 0.15))
    noise = rng.uniform(x.min(0) - 1, x.max(0) + 1, (m, d))
    return np.concatenate([x, noise]), np.concatenate([y, np.full(m, -1)])


def curves(rng: np.random.Generator) -> Drawn:
    """Arcs and lines here and there, and a blob or two."""
    parts: list[np.ndarray] = []
    for _ in range(int(rng.integers(2, 6))):
        m, at = int(rng.integers(70, 160)), rng.uniform(-9, 9, 2)
        if rng.random() < 0.3:
            parts.append(rng.normal(size=(m, 2)) * rng.uniform(0.4, 1.0) + at)
            continue
        turn, start, r = rng.uniform(0.2, 2.0) * np.pi, rng.uniform(0, 2 * np.pi), rng.uniform(2, 5)
        t = start + rng.uniform(0, turn, m)
        parts.append(
            np.column_stack([np.cos(t), np.sin(t)]) * r + at + rng.normal(size=(m, 2)) * rng.uniform(0.1, 0.35)
        )
    return np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(p) for p in parts])


def wide_moons(rng: np.random.Generator) -> Drawn:
    """Half circles, close or not, thick or not, perhaps unlike in number."""
    from sklearn.datasets import make_moons

    m = int(rng.integers(120, 350))
    return make_moons(
        (m, int(m * rng.uniform(0.4, 1))), noise=rng.uniform(0.04, 0.17), random_state=int(rng.integers(1e6))
    )


def wide_rings(rng: np.random.Generator) -> Drawn:
    k = int(rng.integers(2, 4))
    radii = np.cumsum(rng.uniform(0.8, 1.6, k))
    parts = []
    for r in radii:
        t = rng.uniform(0, 2 * np.pi, int(rng.integers(100, 260)))
        parts.append(
            np.column_stack([r * np.cos(t), r * np.sin(t)]) + rng.normal(size=(len(t), 2)) * rng.uniform(0.06, 0.2)
        )
    return np.concatenate(parts), np.repeat(np.arange(k), [len(p) for p in parts])


def nested(rng: np.random.Generator) -> Drawn:
    """Groups of two or three clusters that are close to each other."""
    d, found = int(rng.integers(2, 5)), []
    for c in rng.uniform(-14, 14, (int(rng.integers(2, 5)), d)):
        found += [c + rng.normal(size=d) * 3.2 for _ in range(int(rng.integers(1, 4)))]
    if len(found) < 2:
        found.append(found[0] + 6.0)
    return _normal(rng, np.array(found), [np.eye(d)] * len(found), _n(rng))


TABLES: Mapping[str, Shape] = {
    f.__name__: f
    for f in (
        round_2d, round_unlike_2d, oblong_2d, sheared, oblong, round_wide, few_telling, bent, skewed, heavy, counts, factors,
        hazy, curves, wide_moons, wide_rings, nested,
    )
}  # fmt: skip
