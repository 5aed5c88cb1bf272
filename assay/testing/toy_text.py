"""Toy texts in several scripts, whose class lies in a few words, and the fold they make under what a family wishes.

A family that wishes for a pretrained encoder gets a tiny one with random weights (`tiny_encoder`), so that its suite
needs no download; the environment variable that names the weights' folder is set for it where it is not set yet.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from assay.data.table import ColumnType, Table, Words
from assay.data.textfit import fit_front, fit_vocabulary
from assay.data.texts import TextColumn
from assay.families import Split, Target
from assay.nn.weights import VARIABLE, find_weights
from assay.testing.toy import Toy, constant_prediction, prediction_loss, register

N_TRAIN, N_VALID = 120, 50
FILLER = [
    "the",
    "a",
    "this",
    "of",
    "was",
    "it",
    "and",
    "in",
    "with",
    "for",
    "день",
    "было",
    "это",
    "книга",
    "час",
    "今天",
    "我们",
    "的",
    "了",
    "ein",
    "der",
    "und",
    "nicht",
    "sehr",
    "यह",
    "है",
    "का",
    "film",
    "room",
    "food",
    "trip",
    "映画",
    "部屋",
]
TELLING = (
    ["good", "great", "lovely", "super", "отлично", "хорошо", "很好", "喜欢", "wunderbar", "अच्छा"],
    ["bad", "awful", "dull", "poor", "плохо", "ужасно", "不好", "讨厌", "schrecklich", "बुरा"],
    ["plain", "usual", "fair", "normal", "обычно", "средне", "一般", "普通", "gewöhnlich", "ठीक"],
)


def toy_texts(kind: str, n: int = N_TRAIN + N_VALID, seed: int = 0) -> tuple[Words, np.ndarray, Target]:
    """n texts with their targets, and what is predicted.  kind: "binary", "multiclass" (3 classes) or "regression" (good words less bad)."""
    rng = np.random.default_rng(seed)
    texts, y = [], []
    n_classes = {"binary": 2, "multiclass": 3}.get(kind, 2)
    for _ in range(n):
        words = list(rng.choice(FILLER, rng.integers(3, 14)))
        code = int(rng.integers(n_classes))
        told = [code if rng.random() < 0.9 else int(rng.integers(n_classes)) for _ in range(rng.integers(1, 4))]
        for c in told:
            words.insert(int(rng.integers(len(words) + 1)), str(rng.choice(TELLING[c])))
        texts.append(" ".join(words) + str(rng.choice(["", ".", "!", " 🙂"])))
        y.append(code if kind != "regression" else sum(1.0 if c == 0 else -1.0 for c in told) + 0.1 * rng.normal())
    if kind == "regression":
        return Words.of(texts), np.array(y, np.float64), Target("regression", metric="rmse")
    return Words.of(texts), np.array(y, np.int64), Target(kind, n_classes, "log_loss")


def text_split(kind: str, wish: Any, n_train: int = N_TRAIN) -> Split:
    """The first rows train, the rest validate; a regression target is scaled as in a job."""
    texts, y, target = toy_texts(kind)
    train, valid = np.arange(n_train), np.arange(n_train, len(y))
    pretrained = "encoder" in getattr(wish, "views", ())
    if pretrained:
        os.environ.setdefault(VARIABLE, str(tiny_encoder()))
    column = TextColumn.over(texts, _front(kind, pretrained))
    table = Table({"text": column}, {"text": ColumnType.TEXT})
    if target.is_regression:
        y = (y - y[train].mean()) / y[train].std()
    preparation, x = wish.fit(table.take(train), y[train], target, seed=0)
    x_valid = preparation.transform(table.take(valid))
    return Split(x, y[train], x_valid, y[valid], target, groups=preparation.groups)


@cache
def tiny_encoder() -> Path:
    """A folder with a BERT of two narrow layers, random weights, and a tokenizer of the toys' words."""
    from safetensors.numpy import save_file

    folder = Path(tempfile.mkdtemp(prefix="assay-tiny-encoder-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    words = ["[PAD]", "[UNK]", *dict.fromkeys([*FILLER, *(w for told in TELLING for w in told)])]
    d, wide = 32, 64
    config: dict[str, Any] = {
        "model_type": "bert", "hidden_size": d, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": len(words),
        "intermediate_size": wide, "max_position_embeddings": 300, "type_vocab_size": 2, "hidden_act": "gelu",
        "layer_norm_eps": 1e-12, "pad_token_id": 0,
    }  # fmt: skip
    tokenizer: dict[str, Any] = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": {w: i for i, w in enumerate(words)}, "unk_token": "[UNK]"},
    }  # fmt: skip
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return rng.normal(0, 1 / np.sqrt(shape[-1]), shape).astype(np.float32)

    arrays = {
        "embeddings.word_embeddings.weight": 4 * drawn(len(words), d),
        "embeddings.position_embeddings.weight": 0.1 * drawn(300, d),
        "embeddings.token_type_embeddings.weight": 0.1 * drawn(2, d),
    }
    norms = ["embeddings.LayerNorm"]
    for i in range(2):
        layer = f"encoder.layer.{i}"
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
        shapes = {f"attention.self.{part}": (d, d) for part in ("query", "key", "value")}
        shapes |= {"attention.output.dense": (d, d), "intermediate.dense": (wide, d), "output.dense": (d, wide)}
        for name, shape in shapes.items():
            arrays[f"{layer}.{name}.weight"], arrays[f"{layer}.{name}.bias"] = drawn(*shape), 0.1 * drawn(shape[0])
    for name in norms:
        arrays[f"{name}.weight"], arrays[f"{name}.bias"] = np.ones(d, np.float32), np.zeros(d, np.float32)
    save_file(arrays, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    return folder


@cache
def _front(kind: str, pretrained: bool) -> Any:
    texts = toy_texts(kind)[0].take(np.arange(N_TRAIN))
    weights = find_weights() if pretrained else None
    return fit_front(texts, vocabulary=fit_vocabulary([texts]), tokenizer=weights.tokenizer() if weights else "")


def _toy(kind: str) -> Callable[[], Toy]:
    return lambda: Toy(f"text {kind}", lambda wish: text_split(kind, wish), prediction_loss, constant_prediction)


register("text_classification", _toy("multiclass"))
register("text_regression", _toy("regression"))
