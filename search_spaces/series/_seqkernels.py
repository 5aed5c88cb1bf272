"""The fixed kernels of MiniRocket: how often does a short pattern, spread over the series, lie above a threshold?

Dempster, Schmidt, Webb: MiniRocket: A Very Fast (Almost) Deterministic Transform for Time Series Classification. KDD
2021.  84 kernels of nine weights, six of -1 and three of 2, each at several dilations; thresholds are quantiles of what
the kernels answer on the training series.  Changed here: one set of thresholds for all training series together instead
of one drawn series for each; every second dilation is read without padding for one half of the kernels and with it for
the other; with several channels a kernel reads a few of them; the mean of what lies above the threshold may be added, as
in Tan, Dempster, Bergmeir, Webb: MultiRocket. Data Mining and Knowledge Discovery 36, 2022.

Values are multiples of a grid and thresholds lie between its points, so that no rounding decides a comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.data.series import GRID
from assay.model.graph import Node, Port, Scope, encode

if TYPE_CHECKING:
    import torch

LENGTH = 9
TRIPLES = tuple(combinations(range(LENGTH), 3))  # places of the weight 2
CELLS = 1 << 22  # values of all series that a node holds in one run
NODE_CELLS = 1 << 13  # values of one series that a node of the graph may hold
SHORT = 64  # steps
SAMPLE = 100_000  # values whose quantiles make thresholds


@dataclass(frozen=True, eq=False)
class Bank:
    """Kernels of one dilation that are padded alike.

    source: 0 for the series, 1 for its differences.  weight: float32 (m, C, 9).  thresholds: float32 (m, q).
    """

    source: int
    dilation: int
    padded: bool
    weight: np.ndarray
    thresholds: np.ndarray


@dataclass(frozen=True, eq=False)
class Kernels:
    """All banks with what is read of them.  means: also the mean of what lies above the threshold."""

    banks: tuple[Bank, ...]
    means: bool
    n_steps: int

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        scope = Scope()
        scope.nodes.append(Node("Identity", (self.add(scope, "x"),), ("features",), {}))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        n_channels = self.banks[0].weight.shape[1]
        model = encode(
            scope.graph("features"),
            [Port("x", "float32", ["N", n_channels, self.n_steps])],
            [Port("features", "float32", ["N", None])],
        )
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def of(self, x: np.ndarray) -> np.ndarray:
        """float32 (n, C, L) -> float32 (n, p), by the nodes that serve: they count faster than anything in Python here."""
        batch = max(1, CELLS // (NODE_CELLS + self.n_steps))
        x = np.ascontiguousarray(x, np.float32)
        parts = [self._session.run(None, {"x": x[i : i + batch]})[0] for i in range(0, max(1, len(x)), batch)]
        return np.concatenate(parts)

    def add(self, scope: Scope, x: str) -> str:
        """`of` as nodes."""
        sources = [x]
        if any(b.source for b in self.banks):
            ends = [scope.const(np.array([v], np.int64)) for v in (0, 1, self.n_steps - 1, self.n_steps, 2)]
            late = scope.add("Slice", x, ends[1], ends[3], ends[4])
            sources.append(scope.add("Sub", late, scope.add("Slice", x, ends[0], ends[2], ends[4])))
        parts: list[str] = []
        shares: list[np.ndarray] = []
        for bank in self.banks:
            self._add_bank(scope, bank, sources, parts, shares)
        return scope.add("Mul", scope.add("Concat", *parts, axis=1), scope.const(np.concatenate(shares)))

    def _add_bank(
        self, scope: Scope, bank: Bank, sources: list[str], parts: list[str], shares: list[np.ndarray]
    ) -> None:
        """Append sums over the steps, [N, m] each, and what makes means of them, (m,)."""
        m, q = bank.thresholds.shape
        pad = 4 * bank.dilation if bank.padded else 0
        n_out = self.n_steps - bank.source + 2 * pad - 8 * bank.dilation
        at_once = max(1, min(m, NODE_CELLS // n_out))
        last = scope.const(np.array([2], np.int64))
        for start in range(0, m, at_once):
            weight, thresholds = bank.weight[start : start + at_once], bank.thresholds[start : start + at_once]
            z = scope.add(
                "Conv", sources[bank.source], scope.const(weight), dilations=[bank.dilation], pads=[pad, pad],
                kernel_shape=[LENGTH],
            )  # fmt: skip
            together = n_out < SHORT  # as one long row: a broadcast over short series costs more than the comparison
            flat = scope.add("Flatten", z, axis=1) if together else z
            apart = scope.const(np.array([0, len(weight), n_out], np.int64))
            for j in range(q):
                border = scope.const(np.repeat(thresholds[:, j], n_out) if together else thresholds[:, j : j + 1])
                found = [scope.add("Cast", scope.add("Greater", flat, border), to=1)]
                if self.means:
                    found.append(scope.add("Relu", scope.add("Sub", flat, border)))
                for value in found:
                    total = scope.add("Reshape", value, apart) if together else value
                    parts.append(scope.add("ReduceSum", total, last, keepdims=0))
                    shares.append(np.full(len(weight), 1.0 / n_out, np.float32))


def answered(bank: Bank, x: np.ndarray) -> torch.Tensor:
    """What the kernels of a bank answer.  x: float32 (n, C, L) -> (n, m, L), or less without padding."""
    import torch
    from torch.nn.functional import conv1d

    pad = 4 * bank.dilation if bank.padded else 0
    with torch.no_grad():
        return conv1d(torch.from_numpy(x), torch.from_numpy(bank.weight), padding=pad, dilation=bank.dilation)


def fit_kernels(x: np.ndarray, n_features: int, seed: int, differences: bool = False, means: bool = False) -> Kernels:
    """Kernels with thresholds for about n_features numbers.  x: training series, float32 (n, C, L)."""
    rng = np.random.default_rng(seed)
    n, n_channels, n_steps = x.shape
    sources = _sources(x, differences)
    kept = rng.permutation(n)[:256]
    plans = [
        (s, d, padded)
        for s in range(len(sources))
        for d in dilations(n_steps - s)
        for padded in (True, False)
        if padded or 8 * d < n_steps - s
    ]
    per_kernel = np.zeros(len(plans))  # thresholds of one kernel
    per_kernel[:] = n_features / (2 if means else 1) / (len(TRIPLES) * len(plans) / 2)
    banks = []
    for (source, dilation, padded), many in zip(plans, per_kernel, strict=True):
        half = [
            i for i in range(len(TRIPLES)) if 8 * dilation >= n_steps - source or (i + _turn(dilation)) % 2 == padded
        ]
        weight = _weights(half, n_channels, np.random.default_rng([7, source, dilation, int(padded)]))
        q = max(1, round(many))
        bank = Bank(source, dilation, padded, weight, np.zeros((len(half), q), np.float32))
        z = answered(bank, sources[source][kept]).numpy().transpose(1, 0, 2).reshape(len(half), -1)
        if z.shape[1] > SAMPLE // 8:
            z = z[:, rng.permutation(z.shape[1])[: SAMPLE // 8]]
        z.sort(axis=1)
        # quantiles of a sequence that fills (0, 1) evenly over kernels and thresholds, as in MiniRocket
        places = (np.arange(1, len(half) * q + 1) * ((np.sqrt(5) + 1) / 2) % 1.0).reshape(len(half), q)
        found = np.take_along_axis(z, (places * (z.shape[1] - 1)).astype(np.int64), 1)
        between = (np.floor(found.astype(np.float64) / GRID) + 0.5) * GRID
        banks.append(Bank(source, dilation, padded, weight, between.astype(np.float32)))
    return Kernels(tuple(banks), means, n_steps)


def dilations(n_steps: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, ... while a kernel lies within the series; 1 for the shortest."""
    found = [1]
    for power in range(1, 20):
        for d in (2**power, 3 * 2 ** (power - 1)):
            if (LENGTH - 1) * d < n_steps:
                found.append(d)
    return sorted(set(found))


def n_kernels(n_steps: int) -> int:
    """Of all dilations together, for estimates of cost."""
    return len(TRIPLES) * len(dilations(n_steps))


def _turn(dilation: int) -> int:
    return (dilation & (dilation - 1) != 0) + dilation.bit_length()


def _weights(kernels: list[int], n_channels: int, rng: np.random.Generator) -> np.ndarray:
    """float32 (m, C, 9); a kernel reads one channel, or up to nine of them."""
    weight = np.zeros((len(kernels), n_channels, LENGTH), np.float32)
    for row, k in enumerate(kernels):
        pattern = np.full(LENGTH, -1.0, np.float32)
        pattern[list(TRIPLES[k])] = 2.0
        read = int(2 ** rng.uniform(0, np.log2(min(n_channels, LENGTH) + 1)))
        weight[row, rng.permutation(n_channels)[:read]] = pattern
    return weight


def _sources(x: np.ndarray, differences: bool) -> list[np.ndarray]:
    x = np.ascontiguousarray(x, np.float32)
    return [x, np.diff(x, axis=2)] if differences and x.shape[2] > 2 else [x]
