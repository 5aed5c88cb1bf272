"""Texts of any script as rows of numbers."""

from __future__ import annotations

import json

import numpy as np

from assay.data.front_text import END, START, TextFront, normalised, pieces_of, read, word_hash, words_of
from assay.data.fronts import from_json
from assay.data.table import Words
from assay.data.textfit import fit_front, fit_vocabulary, learn_pieces
from assay.model.front import front_files

TEXTS = ["Der Fluß, der FLUSS!", "我喜欢学习。", "नमस्ते दुनिया", "สวัสดี", "don't  stop\tnow", "ﬁne ½ x²", "🙂 ok"]


def test_texts_are_brought_into_one_form() -> None:
    assert normalised("Der  FLUß\n") == normalised("der fluss") == "der fluss"
    assert normalised("ﬁne\u200b x²") == "fine x2"
    assert normalised("\ud800 lone") == "\ud800 lone"


def test_words_are_cut_in_every_script() -> None:
    assert words_of("don't stop, 3.5!") == ["don't", "stop", ",", "3", ".", "5", "!"]
    assert words_of("我喜欢 python") == ["我", "喜", "欢", "python"]
    assert words_of("नमस्ते दुनिया") == ["नमस्ते", "दुनिया"]
    assert words_of("مرحبا بالعالم") == ["مرحبا", "بالعالم"]
    assert words_of("a b c d", 2) == ["a", "b"]


def test_a_row_holds_characters_words_and_subwords_and_zeros_behind() -> None:
    front = TextFront(chars=10, words=5, pieces=4, vocabulary=("ab", "##c", "d"))
    row = front.rows(["abc D zz"])[0]
    chars, words, pieces = (row[slice(*front.span(v))].tolist() for v in ("chars", "words", "pieces"))
    assert chars == [ord(c) for c in " abc d zz "]
    assert words == [START, word_hash("abc"), word_hash("d"), word_hash("zz"), END]
    assert pieces == [2, 3, 4, 1], "ab ##c d, and what cannot be spelled"
    assert front.tokens("abc D zz", "pieces") == ["ab", "##c", "d", "z"]
    assert front.rows(["a"])[0, 3:10].tolist() == [0] * 7


def test_a_missing_text_is_a_row_of_zeros_and_equal_texts_are_equal_rows() -> None:
    front = fit_front(Words.of(TEXTS), vocabulary=fit_vocabulary([Words.of(TEXTS)]))
    rows = front.encode(Words.of([*TEXTS, None, TEXTS[0]]))
    assert rows.dtype == np.int32 and rows.shape == (len(TEXTS) + 2, *front.shape)
    assert not rows[-2].any()
    assert (rows[-1] == rows[0]).all()
    assert rows[:-2, 0].all()


def test_a_front_survives_json() -> None:
    front = fit_front(Words.of(TEXTS), vocabulary=fit_vocabulary([Words.of(TEXTS)]))
    again = from_json(json.loads(json.dumps(front.to_json())))
    assert again == front == read(front.to_json())
    assert (again.encode(Words.of(TEXTS)) == front.encode(Words.of(TEXTS))).all()


def test_it_travels_in_a_bundle_with_its_own_modules_alone() -> None:
    source = front_files(["text"])["front/front_text.py"].decode()
    assert "from assay" not in source and "from front.table import" in source


def test_subwords_spell_what_they_were_learned_from_and_much_else() -> None:
    counts = {"lower": 20, "lowest": 20, "newer": 20, "wider": 20, "new": 5}
    vocabulary = {p: i for i, p in enumerate(learn_pieces(counts, 40))}
    assert learn_pieces(counts, 40) == learn_pieces(dict(reversed(counts.items())), 40)
    for word in [*counts, "wildest"]:
        pieces = pieces_of(word, vocabulary)
        assert "".join(p.removeprefix("##") for p in pieces) == word
        assert not pieces[0].startswith("##") and all(p.startswith("##") for p in pieces[1:])
    assert len(pieces_of("lower", vocabulary)) < 5, "frequent words are few pieces"


def test_rows_get_no_longer_than_the_texts_and_the_memory_allow() -> None:
    short, many = Words.of(["a b", "c"]), Words.of([f"{i} " * 900 for i in range(40)])
    assert fit_front(short).shape[0] < 60
    wide = fit_front(many)
    assert wide.words > 500
    crowded = fit_front(Words(np.zeros(400_000, np.int32), many.levels), n_columns=2)
    assert crowded.shape[0] <= 250
