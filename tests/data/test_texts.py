"""Columns that know their front, and the matrix of token numbers made of them."""

from __future__ import annotations

import numpy as np
import pytest

from assay.data.table import ColumnType, Table, Words
from assay.data.textfit import fit_front, fit_vocabulary
from assay.data.texts import TextColumn, TextRecipe, Tokens
from assay.errors import DataError
from assay.families import Target
from assay.model.graph import Port, encode

TITLES = Words.of(["one two", "three", None, "one two", "four, five"])
BODIES = Words.of(["a b c", "d", "e f", "a b c", None])
TARGET = Target("binary", 2)


def table() -> Table:
    vocabulary = fit_vocabulary([TITLES, BODIES])
    columns = {n: TextColumn.over(w, fit_front(w, 2, vocabulary)) for n, w in (("title", TITLES), ("body", BODIES))}
    return Table(columns, dict.fromkeys(columns, ColumnType.TEXT))


def test_selected_rows_know_their_blocks_and_where_they_are_from() -> None:
    preparation, x = TextRecipe(("words", "pieces")).fit(table(), np.zeros(5), TARGET, 0)
    assert isinstance(x, Tokens)
    assert [(b.column, b.view) for b in x.blocks] == [(0, "words"), (0, "pieces"), (1, "words"), (1, "pieces")]
    part = x[:2]
    assert isinstance(part, Tokens) and part.blocks == x.blocks
    assert part.origin is None and x.origin is not None, "only whole matrices are taken from a column"
    encoded, rows = x.origin[0]
    np.testing.assert_array_equal(encoded.view("words")[rows], x[:, : x.blocks[0].end])
    np.testing.assert_array_equal(preparation.transform(table().take(np.array([3])))[0], x[3])


def test_the_graph_takes_what_the_fronts_give_and_answers_the_same_matrix() -> None:
    import onnxruntime

    data = table()
    preparation, x = TextRecipe(("chars", "pieces")).fit(data, np.zeros(5), TARGET, 0)
    graph = preparation.to_onnx({"title": "t", "body": "b"})
    fronts = dict(zip(preparation.columns, preparation.fronts, strict=True))
    ports = [Port(s, "int32", [None, *fronts[n].shape]) for n, s in (("title", "t"), ("body", "b"))]
    model = encode(graph, ports, [Port(graph.output, "int32", [None, None])])
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    feeds = {s: fronts[n].encode(data.columns[n]) for n, s in (("title", "t"), ("body", "b"))}
    np.testing.assert_array_equal(session.run(None, feeds)[0], x)


def test_texts_are_counted_once_for_all_folds() -> None:
    data = table()
    recipe = TextRecipe(("words",))
    matrices = [recipe.fit(data.take(np.array(rows)), np.zeros(2), TARGET, 0)[1] for rows in ([0, 1], [2, 3])]
    first, second = (
        x.origin[0][0].counts("words", (1, 2), 1, 18) for x in matrices if isinstance(x, Tokens) and x.origin
    )
    assert first is second


def test_a_table_without_fronts_is_refused_with_the_way_out() -> None:
    plain = Table({"title": TITLES}, {"title": ColumnType.TEXT})
    with pytest.raises(DataError, match="text_classification"):
        TextRecipe(("words",)).fit(plain, np.zeros(5), TARGET, 0)
