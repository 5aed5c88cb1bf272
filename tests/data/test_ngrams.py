"""Hashed n-grams by NumPy and by nodes."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np

from assay.data.ngrams import all_ids, counts, emit_ids, lowered
from assay.model.graph import Port, Scope, encode


def rows(n: int = 30, width: int = 12) -> np.ndarray:
    rng = np.random.default_rng(0)
    found = rng.integers(1, 6, (n, width)).astype(np.int32)
    for i, length in enumerate(rng.integers(0, width + 1, n)):
        found[i, length:] = 0
    found[0, :3] = [2**31 - 1, 5, 0x10FFFF]
    return found


def test_nodes_answer_the_very_same_ids() -> None:
    import onnxruntime

    x = rows()
    for orders in ((1,), (2, 3), (1, 4), (2, 20)):
        scope = Scope()
        found = emit_ids(scope, scope.add("Cast", "x", to=7), x.shape[1], orders, 7, 18)
        model = encode(
            scope.graph(found), [Port("x", "int32", [None, x.shape[1]])], [Port(found, "int64", [None, None])]
        )
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], all_ids(x, orders, 7, 18))


def test_counts_are_those_of_the_n_grams() -> None:
    x = rows()
    found = counts(x, (1, 2), 3, 18).toarray()
    for row, told in zip(x.tolist(), found, strict=True):
        text = [t for t in row if t]
        grams = Counter([*((t,) for t in text), *pairwise(text)])
        assert sorted(told[told > 0]) == sorted(grams.values())
    assert found[:, 0].sum() == 0, "0 is no n-gram"


def test_counts_of_fewer_bits_follow_from_those_of_more() -> None:
    x = rows(200)
    np.testing.assert_array_equal(lowered(counts(x, (1, 2), 3, 20), 8).toarray(), counts(x, (1, 2), 3, 8).toarray())


def test_other_salts_and_orders_are_other_ids() -> None:
    x = np.arange(1, 2000, dtype=np.int32)[None]
    first, second = (set(all_ids(x, (1,), salt, 20)[0].tolist()) for salt in (1, 2))
    assert len(first) > 1990
    assert len(first & second) < 20
