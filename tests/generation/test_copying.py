"""Copies of rows among the samples of a generator that is about to be delivered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from assay.generation import copying
from assay.generation.columns import fit_rows
from assay.generation.copying import copied
from assay.generation.judge import RowJudge
from assay.generation.parts import Rows
from assay.generation.stage import RowStage
from tests.generation.test_judge import rows


class Nothing:
    """A graph nobody runs: what it draws is given."""

    spec: dict[str, Any] = {}

    def encoded(self) -> bytes:
        return b""


def stage() -> RowStage:
    train, held = rows(0, 1.0), rows(1, 1.0)
    coder = fit_rows(train, "y")
    return RowStage(
        coder, Rows(coder.layout, coder.encode(train), coder.encode(held)), RowJudge(coder, train, held, "y")
    )


@pytest.mark.parametrize(("share", "refused"), [(0.0, False), (0.05, True), (1.0, True)])
def test_a_few_copies_among_many_samples_are_seen(share: float, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    there = stage()
    fresh, known = rows(2, 1.0, 2000), there.judge.train
    is_copy = np.arange(2000) < share * 2000
    drawn = {
        name: np.where(is_copy, np.resize(known.numbers(name), 2000), fresh.numbers(name)).astype(np.float32)
        for name in fresh.names
    }
    monkeypatch.setattr(copying, "session", lambda onnx: None)
    monkeypatch.setattr(copying, "draw", lambda *args: drawn)
    composed: Any = Nothing()
    found, are_copies = copied(there, composed)
    assert are_copies is refused
    assert found == pytest.approx(share, abs=0.03)
