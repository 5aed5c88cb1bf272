"""The rows of many members as tensors: each member's own table, its own order of rows, batches of one common size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_CHUNK = 1 << 14  # validation rows of all members together in one pass: activations stay in the cache


@dataclass(frozen=True, eq=False)
class Table:
    """One fold.  x, x_valid: (n, d), (m, d).  y, y_valid: int class codes, or targets.  weight*: (n,), (m,) or None."""

    x: np.ndarray
    y: np.ndarray
    x_valid: np.ndarray
    y_valid: np.ndarray
    weight: np.ndarray | None = None
    weight_valid: np.ndarray | None = None

    def prior(self, n_classes: int) -> np.ndarray:
        """Weighted share of each class among the training rows, (c,)."""
        counts = np.bincount(self.y, weights=self.weight, minlength=n_classes).astype(np.float64)
        return np.asarray(counts / counts.sum())


def batch_size(wanted: int, n_rows: int) -> int:
    """`wanted`, but at most the largest power of two that an eighth of the rows fill, and no less than 8 (or all) rows.

    Small tables need the steps: on 500 rows of `vehicle`, 32 instead of 128 took log-loss from .404 to .381.  A power of
    two, so that folds that differ by a row or two get the same size and train as they would alone.
    """
    return min(wanted, max(8, 1 << max(0, (n_rows // 8).bit_length() - 1)), max(1, n_rows))


class Feed:
    """Tables stacked on the device, narrower ones padded with zero columns and shorter ones with rows nobody draws."""

    def __init__(self, tables: Sequence[Table], n_classes: int, batch: int, device: str, dtype: torch.dtype) -> None:
        import torch

        self.batch = batch
        self.n_rows = [len(t.x) for t in tables]
        self.d = max(t.x.shape[1] for t in tables)
        self._device = device
        kind = torch.int64 if n_classes else dtype
        n, m = max(self.n_rows), max(len(t.x_valid) for t in tables)
        x = np.stack([_padded(t.x, n, self.d) for t in tables])
        self._stride = n
        self._x = torch.as_tensor(x, device=device, dtype=dtype).view(-1, self.d)
        self._y = torch.as_tensor(np.stack([_padded(t.y, n) for t in tables]), device=device, dtype=kind).view(-1)
        self._weight: Tensor | None = None
        if any(t.weight is not None for t in tables):
            weights = [_padded(_mean_one(t.weight, len(t.x)), n) for t in tables]
            self._weight = torch.as_tensor(np.stack(weights), device=device, dtype=dtype).view(-1)
        x_valid = np.stack([_padded(t.x_valid, m, self.d) for t in tables])
        self._x_valid = torch.as_tensor(x_valid, device=device, dtype=dtype)
        self._y_valid = torch.as_tensor(np.stack([_padded(t.y_valid, m) for t in tables]), device=device, dtype=kind)
        shares = [_mean_one(t.weight_valid, len(t.x_valid)) / max(1, len(t.x_valid)) for t in tables]
        self._share = torch.as_tensor(np.stack([_padded(s, m) for s in shares]), device=device, dtype=dtype)

    def steps(self, table: int) -> int:
        """Batches in one epoch of a table: every row at least once."""
        return -(-self.n_rows[table] // self.batch)

    def orders(self, tables: Sequence[int], seeds: Sequence[int], epoch: int) -> Tensor:
        """Row numbers of every batch of an epoch, (S, K, B); shorter members idle at the end on their first row.

        An order depends on the member's seed and the epoch alone.  The last batch is filled from a second shuffle.
        """
        import torch

        n_steps = max(self.steps(t) for t in tables)
        rows = np.zeros((len(tables), n_steps * self.batch), dtype=np.int64)
        for k, (t, seed) in enumerate(zip(tables, seeds, strict=True)):
            n, need = self.n_rows[t], self.steps(t) * self.batch
            rng = np.random.default_rng([seed, epoch])
            rows[k, :need] = np.concatenate([rng.permutation(n) for _ in range(-(-need // n))])[:need]
            rows[k] += t * self._stride
        return torch.as_tensor(rows, device=self._device).view(len(tables), n_steps, self.batch).transpose(0, 1)

    def rows(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """index: (K, B) -> x (K, B, d), y (K, B), weight (K, B) or None."""
        flat = index.reshape(-1)
        weight = None if self._weight is None else self._weight[flat].view(index.shape)
        return self._x.index_select(0, flat).view(*index.shape, self.d), self._y[flat].view(index.shape), weight

    def validation(self, tables: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """x (K, b, d), y (K, b) and each row's share of the mean (K, b), in chunks; padding has no share."""
        same = tables.tolist() == list(range(len(self._x_valid)))
        chunk = max(64, _CHUNK // len(tables))
        for start in range(0, self._x_valid.shape[1], chunk):
            part = slice(start, start + chunk)
            if same:
                yield self._x_valid[:, part], self._y_valid[:, part], self._share[:, part]
            else:
                yield self._x_valid[tables, part], self._y_valid[tables, part], self._share[tables, part]


def _padded(a: np.ndarray, n: int, d: int | None = None) -> np.ndarray:
    """With zero rows up to n and, for a matrix, zero columns up to d."""
    if len(a) == n and (d is None or a.shape[1] == d):
        return a
    full = np.zeros((n,) if d is None else (n, d), dtype=a.dtype)
    full[(slice(0, len(a)),) if d is None else (slice(0, len(a)), slice(0, a.shape[1]))] = a
    return full


def _mean_one(weight: np.ndarray | None, n: int) -> np.ndarray:
    if weight is None:
        return np.ones(n)
    return np.asarray(weight / weight.mean(), dtype=np.float64)
