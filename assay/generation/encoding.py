"""Rows as a matrix a network can write: codes as groups of shares, numbers as scores or by mode-specific normalisation.

Mode-specific normalisation (Xu, Skoularidou, Cuesta-Infante, Veeramachaneni, "Modeling Tabular data using Conditional
GAN", NeurIPS 2019): a number is one of the modes of its column, and where it lies in it, in four deviations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.generation.columns import Layout, Parts
from assay.generation.parts import DrawnParts, Inputs, joined, or_given, pick, pick_logits

MODES = 10  # of a column, at most
MODE_ROWS = 3000  # rows they are found in
LEAST_WEIGHT = 0.005
WIDTH = 4.0  # deviations that are one unit


@dataclass(frozen=True, eq=False)
class Modes:
    """Of one column.  means, deviations, weights: (K,)."""

    means: np.ndarray
    deviations: np.ndarray
    weights: np.ndarray

    def encode(self, values: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Where in the mode, and which one, drawn by how likely it is.  (n,), int64 (n,)."""
        z = (values[:, None] - self.means) / self.deviations
        log_p = np.log(self.weights / self.deviations) - 0.5 * z**2
        mode = np.argmax(log_p + rng.gumbel(size=log_p.shape), 1)
        return np.clip(z[np.arange(len(z)), mode] / WIDTH, -1, 1), mode


@dataclass(frozen=True)
class Block:
    """Columns first .. first + width - 1 of the matrix.  kind: "code" or "mode" (shares) or "number".  part: which code
    or score.  gate: of a number or mode, the columns of the code that makes it count, None for always."""

    kind: str
    part: int
    first: int
    width: int
    gate: int | None = None


@dataclass(frozen=True, eq=False)
class Encoding:
    """blocks: in order; the target is no block, it is a condition.  modes: for each score, None for scores as they are."""

    layout: Layout
    blocks: tuple[Block, ...]
    modes: tuple[Modes, ...] | None
    shares: np.ndarray  # of the target's codes, (k,); (1,) without a target

    @property
    def width(self) -> int:
        return self.blocks[-1].first + self.blocks[-1].width if self.blocks else 0

    @property
    def n_given(self) -> int:
        """Width of the condition; 0 without a target."""
        return len(self.shares) if self.layout.target is not None else 0

    @property
    def uniform(self) -> int:
        """Uniform numbers a draw takes: one for the target, one for every group of shares."""
        return 1 + sum(b.kind != "number" for b in self.blocks)

    def matrix(self, parts: Parts, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """float32 (n, width), and where a column counts, bool (n, width)."""
        x = np.zeros((len(parts), self.width), np.float32)
        counts = np.ones((len(parts), self.width), bool)
        inside: dict[int, np.ndarray] = {}
        for b in self.blocks:
            at = slice(b.first, b.first + b.width)
            if b.kind == "code":
                x[:, at] = parts.codes[:, b.part : b.part + 1] == np.arange(b.width)[None]
                continue
            known = parts.known[:, b.part]
            counts[:, at] = known[:, None]
            if self.modes is None:
                x[:, b.first] = np.where(known, parts.scores[:, b.part], 0.0)
            elif b.kind == "number":
                where, mode = self.modes[b.part].encode(np.where(known, parts.values[:, b.part], 0.0), rng)
                x[:, b.first], inside[b.part] = np.where(known, where, 0.0), mode
            else:
                x[:, at] = (inside[b.part][:, None] == np.arange(b.width)[None]) & known[:, None]
        return x, counts

    def given(self, parts: Parts) -> np.ndarray:
        """The target as shares, float32 (n, n_given)."""
        if self.layout.target is None:
            return np.zeros((len(parts), 0), np.float32)
        code = parts.codes[:, self.layout.target][:, None]
        return np.asarray(code == np.arange(self.n_given)[None], np.float32)

    def emit_given(self, inputs: Inputs) -> str:
        """int64 [N]: the code asked for, or one drawn by the shares; "" without a target."""
        if self.layout.target is None:
            return ""
        sums = inputs.scope.const(np.cumsum(self.shares)[None, :-1].astype(np.float32))
        return or_given(inputs.scope, inputs.given, pick(inputs.scope, sums, inputs.u(0)))

    def emit(self, inputs: Inputs, out: str, target: str) -> DrawnParts:
        """Parts from what a network answers: logits of groups, and numbers.  out: [N, width]; target: int64 [N]."""
        s = inputs.scope
        codes: dict[int, str] = {} if self.layout.target is None else {self.layout.target: target}
        numbers: dict[int, str] = {}
        inside: dict[int, str] = {}
        drawn = 1
        for b in self.blocks:
            piece = s.add("Slice", out, s.const([b.first]), s.const([b.first + b.width]), s.const([1]))
            if b.kind == "number":
                if self.modes is None:
                    numbers[b.part] = piece
                else:
                    inside[b.part] = s.add("Clip", piece, s.const(np.float32(-1)), s.const(np.float32(1)))
                    if len(self.modes[b.part].means) == 1:  # a group of one is no block
                        numbers[b.part] = self._in_mode(inputs, b.part, inside[b.part], "")
                continue
            code = pick_logits(s, piece, inputs.u(drawn))
            drawn += 1
            if b.kind == "code":
                codes[b.part] = code
            else:
                numbers[b.part] = self._in_mode(inputs, b.part, inside[b.part], code)
        told = joined(s, [numbers[j] for j in range(len(numbers))]) if numbers else ""
        return DrawnParts(tuple(codes[j] for j in range(len(codes))), told, self.modes is not None)

    def _in_mode(self, inputs: Inputs, part: int, where: str, mode: str) -> str:
        s = inputs.scope
        assert self.modes is not None
        m = self.modes[part]
        if not mode:
            scaled = s.add("Mul", where, s.const(np.float32(WIDTH * m.deviations[0])))
            return s.add("Add", scaled, s.const(np.float32(m.means[0])))
        width = s.add("Gather", s.const((WIDTH * m.deviations).astype(np.float32)), mode)
        mean = s.add("Gather", s.const(m.means.astype(np.float32)), mode)
        scaled = s.add("Mul", where, s.add("Unsqueeze", width, s.const([1])))
        return s.add("Add", scaled, s.add("Unsqueeze", mean, s.const([1])))


def fit_encoding(layout: Layout, train: Parts, numbers: str, rng: np.random.Generator) -> Encoding:
    """numbers: "scores" or "modes"."""
    modes = None
    if numbers == "modes":
        modes = tuple(_fit_modes(train.values[train.known[:, j], j], rng) for j in range(train.values.shape[1]))
    blocks: list[Block] = []
    first = 0

    def block(kind: str, part: int, width: int, gate: int | None = None) -> None:
        nonlocal first
        blocks.append(Block(kind, part, first, width, gate))
        first += width

    at: dict[int, int] = {}
    for j, k in enumerate(layout.sizes):
        if j != layout.target:
            at[j] = first
            block("code", j, k)
    for j, gate in enumerate(layout.gates):
        opens = None if gate is None or gate[0] not in at else at[gate[0]] + gate[1]
        block("number", j, 1, opens)
        if modes is not None and len(modes[j].means) > 1:
            block("mode", j, len(modes[j].means), opens)
    shares = np.ones(1)
    if layout.target is not None:
        shares = np.bincount(train.codes[:, layout.target], minlength=layout.sizes[layout.target]) / len(train)
    return Encoding(layout, tuple(blocks), modes, shares)


def _fit_modes(values: np.ndarray, rng: np.random.Generator) -> Modes:
    import warnings

    from sklearn.mixture import BayesianGaussianMixture

    if len(values) > MODE_ROWS:
        values = rng.choice(values, MODE_ROWS, replace=False)
    mean, deviation = float(values.mean()), float(values.std()) or 1.0
    if len(values) < 20:
        return Modes(np.array([mean]), np.array([deviation]), np.ones(1))
    model = BayesianGaussianMixture(
        n_components=min(MODES, len(values) // 10), weight_concentration_prior=1e-3, max_iter=60, n_init=1,
        random_state=int(rng.integers(1 << 31)),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sixty rounds are enough, converged or not
        model.fit(((values - mean) / deviation)[:, None])
    kept = model.weights_ > LEAST_WEIGHT
    means, deviations = model.means_[kept, 0], np.sqrt(model.covariances_[kept, 0, 0])
    weights = model.weights_[kept]
    return Modes(
        means * deviation + mean, np.maximum(deviations * deviation, 1e-6 * deviation), weights / weights.sum()
    )


def groups(blocks: Sequence[Block]) -> list[tuple[int, int]]:
    """(first, width) of the groups of shares."""
    return [(b.first, b.width) for b in blocks if b.kind != "number"]
