"""The target of a drawn row told anew from its other cells: one more Gibbs step after any generator.

Generators draw the target first, so that it can be asked for, or somewhere between the other columns; what ties it to all
of them together is then the product of many small conditionals.  Redrawing it from trees that learned p(target | others)
on real rows keeps the distribution where the generator is right and mends that tie where it is not.  A condition is kept.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from assay.data.table import Table
from assay.generation.columns import RowCoder
from assay.generation.parts import cut, or_given
from assay.generation.tell import MOST_CODES, MOST_ROWS, Growing, Tell, fit_tell, n_folds
from assay.model.graph import Scope

LEAST_ROWS = 40
CALM = 0.9  # errors of a number in those of unseen rows: what is learned from drawn rows is learned through their noise twice
SECONDS = 4.0  # rounds are cut so that growing takes about so long on one core


@dataclass(frozen=True, eq=False)
class Retelling:
    """code: of the target's code part, score: of its score part; None where it has no such part."""

    code: Tell | None
    score: Tell | None
    conditional: bool
    seconds: float  # it took to grow

    uniform = 2  # numbers a draw takes

    def emit(self, scope: Scope, cells: str, uniform: str) -> tuple[str, str]:
        """The new code, int64 [N], and score, float32 [N, 1]; "" for none."""
        code = self.code.emit(scope, cells, cut(scope, uniform, 0, 1)) if self.code else ""
        if code and self.conditional:
            code = or_given(scope, "given", code)
        return code, self.score.emit(scope, cells, cut(scope, uniform, 1, 1)) if self.score else ""


def fit_retelling(coder: RowCoder, table: Table, seed: int = 0) -> Retelling | None:
    """None without a target, without other columns, and for more states than trees are grown for."""
    if coder.target is None or len(table) < LEAST_ROWS:
        return None
    import lightgbm  # noqa: F401  loading it is not growing

    began = time.monotonic()
    cells, parts = coder.cells(table), coder.encode(table)
    code_part = coder.code_of.index(coder.target) if coder.target in coder.code_of else None
    score_part = coder.score_of.index(coder.target) if coder.target in coder.score_of else None
    if not cells.shape[1] or (code_part is None and score_part is None):
        return None
    code = score = None
    if code_part is not None:
        size = coder.layout.sizes[code_part]
        if size > MOST_CODES:
            return None
        code = fit_tell(cells, parts.codes[:, code_part], size, growing(len(cells), cells.shape[1], size), seed)
    if score_part is not None:
        known = parts.known[:, score_part]
        if known.sum() < LEAST_ROWS:
            return None
        values = parts.scores[known, score_part].astype(np.float64)
        score = fit_tell(cells[known], values, 0, growing(int(known.sum()), cells.shape[1], 1), seed + 1)
    return Retelling(code, score, coder.layout.target is not None, time.monotonic() - began)


def growing(n: int, d: int, size: int, seconds: float = SECONDS, start: Growing | None = None) -> Growing:
    """As many rounds as the seconds allow, on one core; fewer ones take larger steps."""
    found = start or Growing(calm=CALM)
    folds, rows = n_folds(n), min(n, MOST_ROWS)
    per_tree = 1e-4 + 1.2e-8 * rows * d + found.leaves * (1e-5 + 2e-6 * d)
    most = seconds / (folds * per_tree * (size if size > 2 else 1))
    rounds = int(np.clip(most, 12, found.rounds))
    return replace(found, rounds=rounds, rate=float(min(0.3, found.rate * found.rounds / rounds)))
