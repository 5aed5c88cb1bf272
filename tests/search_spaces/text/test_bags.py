"""Weighted bags of n-grams, and the linear answer over them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from assay.data.table import ColumnType, Table, Words
from assay.data.textfit import fit_front
from assay.data.texts import TextColumn, TextRecipe, Tokens
from assay.errors import Diverged
from assay.families import Split, Target, discover
from assay.search.strategies._portfolio import starts
from assay.space import Space
from assay.testing.context import ToyContext
from assay.testing.families import run_graph
from assay.testing.toy import toys
from search_spaces.text._bags import MOST_TIMES, Kind, fit_bag
from search_spaces.text._linear import link_of, log_count_ratios, margin_scale, rounded, shares

TEXTS = ["a b c", "a a a b", "c d " + "e " * 12, "d", "a c e g", "b b"]


def matrix(texts: list[str]) -> Tokens:
    words = Words.of(texts)
    table = Table({"t": TextColumn.over(words, fit_front(Words.of(TEXTS)))}, {"t": ColumnType.TEXT})
    x = TextRecipe(("chars", "words")).fit(table, np.zeros(len(texts)), Target("binary", 2), 0)[1]
    assert isinstance(x, Tokens)
    return x


def test_a_bag_weighs_n_grams_as_tf_idf_does() -> None:
    fitted = fit_bag(matrix(TEXTS), Kind("words", (1,)), sublinear=True, idf=True)
    assert fitted is not None
    bag, x = fitted
    np.testing.assert_allclose(_lengths(x), 1.0, atol=1e-6)
    # of "a a a b" with the marks of start and end: (1 + log 3) idf(a), idf(b), idf(start), idf(end)
    idf = {t: np.log(7 / (1 + df)) + 1 for t, df in {"a": 3, "b": 3, "mark": 6}.items()}
    raw = np.array([(1 + np.log(3)) * idf["a"], idf["b"], idf["mark"], idf["mark"]])
    np.testing.assert_allclose(sorted(x[1].data), sorted(raw / np.linalg.norm(raw)), rtol=1e-5)
    np.testing.assert_allclose(bag.matrix(matrix(TEXTS)).toarray(), x.toarray(), atol=1e-6)


def test_words_that_were_never_seen_weigh_nothing() -> None:
    fitted = fit_bag(matrix(TEXTS), Kind("words", (1,)), sublinear=True, idf=True)
    assert fitted is not None
    known, mixed = (fitted[0].matrix(matrix([t])) for t in ("a d", "a d zzz yyy"))
    np.testing.assert_allclose(known.toarray(), mixed.toarray(), atol=1e-6)


@pytest.mark.parametrize("term_weight", ["sublinear", "binary"])
def test_the_graph_counts_repetitions_as_training_does(term_weight: str) -> None:
    texts = ["a " * i + "b " * j + "c" for i in range(MOST_TIMES + 3) for j in (0, 1, 4)]
    x, y = matrix(texts), np.arange(len(texts)) % 3
    family = discover()["tfidf_linear"]
    config = family.Config(term_weight=term_weight)
    predictor = family.fit(config, Split(x, y, x, y, Target("multiclass", 3)), ToyContext())
    rows = np.asarray(x)
    np.testing.assert_allclose(run_graph(predictor.to_onnx("x"), rows), predictor.predict(x), atol=1e-5)
    np.testing.assert_allclose(predictor.predict(rows), predictor.predict(x), atol=1e-6)


def test_log_counts_are_large_for_what_one_class_says() -> None:
    fitted = fit_bag(matrix(["good a", "good b", "bad a", "bad b"]), Kind("words", (1,)), sublinear=False, idf=False)
    assert fitted is not None
    ratios = log_count_ratios(fitted[1], np.array([1, 1, 0, 0]), 2, None)[:, 0]
    np.testing.assert_allclose(np.sort(ratios[1:]), [-np.log(3), 0, 0, 0, 0, np.log(3)], atol=1e-6)


def test_an_ngram_as_frequent_in_a_rare_class_as_elsewhere_tells_nothing_of_it() -> None:
    """Twenty-five classes: what adds one everywhere made each n-gram of a rare class, and each it lacks, look telling."""
    y = np.repeat(np.arange(25), 40)
    x = np.zeros((1000, 200), np.float32)
    x[:, 0] = 1  # in every text
    x[np.arange(1000), 1 + y] = 1  # in texts of one class alone
    x[np.arange(1000), 26 + np.arange(1000) % 174] = 1  # all over
    ratios = log_count_ratios(csr_matrix(x), y, 25, None)
    np.testing.assert_allclose(ratios[0], 0, atol=1e-6)
    assert ratios[4, 3] > 1.5 * np.abs(ratios[26:]).max()
    one = np.zeros((1000, 1), np.float32)
    one[0] = 1  # a single text of class 0
    seen_once = log_count_ratios(csr_matrix(np.hstack([x, one])), y, 25, None)[-1]
    assert abs(seen_once[1:]).max() < 0.5 < seen_once[0] < ratios[4, 3]


def test_a_search_of_texts_begins_with_and_without_log_counts() -> None:
    names = ("tfidf_linear", "bag_of_ngrams", "text_cnn", "text_transformer")
    first, second = starts({n: Space.of(discover()[n].Config) for n in names}, 5_000, 1)[:2]
    assert first.family == second.family == "tfidf_linear"
    assert (first.config["log_counts"], second.config["log_counts"]) == (True, False)
    assert second.config["chars"] == first.config["chars"] != "none" and second.config["words"] == 2


def test_margins_get_the_scale_that_makes_them_honest() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4000, 1))
    y = (rng.random(4000) < 1 / (1 + np.exp(-3 * z[:, 0]))).astype(np.int64)
    assert margin_scale(z, y) == pytest.approx(3.0, rel=0.15)
    np.testing.assert_allclose(shares(np.array([[0.0, 0.0, 0.0]]), "ovr"), 1 / 3, rtol=1e-6)


def test_the_link_is_the_one_that_tells_unseen_rows_best() -> None:
    rng = np.random.default_rng(0)
    z = 2.0 * rng.normal(size=(4000, 6)) - 3.0
    for link in ("ovr", "softmax"):
        p = shares(z if link == "ovr" else 2.0 * z, link)
        y = np.array([rng.choice(6, p=row / row.sum()) for row in p.astype(np.float64)])
        found, scale = link_of(z, y, "ovr")
        assert found == link and scale == pytest.approx(1.0 if link == "ovr" else 2.0, rel=0.1)
    assert link_of(z, y, "softmax")[0] == "softmax"


def test_weights_beyond_sixteen_bits_are_refused() -> None:
    with pytest.raises(Diverged):
        rounded(np.array([[1e6]]))


@pytest.mark.parametrize("model", ["svm", "ridge"])
def test_every_model_beats_the_constant_on_classes_and_numbers(model: str) -> None:
    family = discover()["tfidf_linear"]
    for toy in toys("text_classification") + toys("text_regression"):
        config = family.Config(model=model, C=1.0)
        split = toy.split(family.recipe(config))
        predictor = family.fit(config, split, ToyContext())
        assert toy.loss(split, predictor.predict(split.x_valid)) < 0.7 * toy.loss(split, toy.naive(split))
        weighted = dataclasses.replace(split, weight=np.ones(len(split.y)))
        same = family.fit(config, weighted, ToyContext()).predict(split.x_valid)
        np.testing.assert_allclose(same, predictor.predict(split.x_valid), atol=0.05)


def _lengths(x: object) -> np.ndarray:
    return np.sqrt(np.asarray(x.multiply(x).sum(1)).ravel())  # type: ignore[attr-defined]
