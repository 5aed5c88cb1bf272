"""MT-DNN: one text encoder for all targets, and a head for each that reads one text, or two and how they go together.

Liu, He, Chen, Gao: Multi-Task Deep Neural Networks for Natural Language Understanding. ACL 2019.  Changed: the encoder is
small and learned from the job's own texts (theirs is BERT), so a text's vector holds the mean of its subwords' embeddings
beside the pooled answer of the layers, which small data learn first; and a pair is compared by what its vectors and
its subwords have in common (Reimers, Gurevych: Sentence-BERT, EMNLP 2019; soft alignment: Chen et al.: Enhanced LSTM for
Natural Language Inference, ACL 2017) where they use their stochastic answer network, or read as one sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay.model.graph import Scope
from assay.nn.text_encoder import FAR, Layer, Pooling
from assay.nn.tokens import (
    array,
    emit_attended,
    emit_embedding,
    emit_known,
    emit_linear,
    emit_mask,
    emit_norm,
    known,
)

TINY = 1e-6


@dataclass(frozen=True)
class TextHead:
    """columns: positions of the texts it reads; outputs: numbers of its answer."""

    columns: tuple[int, ...]
    outputs: int

    @property
    def is_pair(self) -> bool:
        return len(self.columns) == 2


@dataclass(frozen=True)
class TextSizes:
    """size: tokens in the vocabulary; widths: of every column, in tokens.  pairs "apart": each text by itself, then
    compared; "together": as one sequence."""

    size: int
    widths: tuple[int, ...]
    d: int
    layers: int
    dropout: float
    pairs: str = "apart"


@dataclass(frozen=True, eq=False)
class Read:
    """vector: (B, 2 d); tokens: unit vectors of the subwords (B, T, d); mask: (B, T)."""

    vector: Tensor
    tokens: Tensor
    mask: Tensor


class MtDnn(nn.Module):
    """Token numbers of every column -> raw answers of one head."""

    def __init__(self, sizes: TextSizes, heads: Sequence[TextHead]) -> None:
        super().__init__()
        d = sizes.d
        self.sizes, self.specs = sizes, tuple(heads)
        self.embedding = nn.Embedding(sizes.size, d)
        self.position = nn.Embedding(max(sizes.widths), d)
        self.segment = nn.Embedding(2, d)
        nn.init.normal_(self.embedding.weight, std=0.1)
        for small in (self.position, self.segment):
            nn.init.normal_(small.weight, std=0.02)
        self.layers = nn.ModuleList(Layer(d, max(1, d // 32), sizes.dropout) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(d)
        self.pooling = Pooling(d)
        self.drop = nn.Dropout(sizes.dropout)
        self.hidden = nn.ModuleList(nn.Linear(self._wide(h), d) if h.is_pair else nn.Identity() for h in heads)
        self.out = nn.ModuleList(nn.Linear(d if h.is_pair else 2 * d, h.outputs) for h in heads)

    def forward(self, ids: Sequence[Tensor], head: int) -> Tensor:
        """ids: int64 (B, T) of every column."""
        return self.answer(self.read(ids, self.specs[head].columns), ids, head)

    def read(self, ids: Sequence[Tensor], columns: Sequence[int]) -> dict[int, Read]:
        """The columns, each by itself; none where the texts of a pair are read together."""
        if len(columns) == 2 and self.sizes.pairs == "together":
            return {}
        return {c: self.encode(ids[c : c + 1]) for c in columns}

    def answer(self, read: dict[int, Read], ids: Sequence[Tensor], head: int) -> Tensor:
        spec = self.specs[head]
        if not spec.is_pair:
            there = [read[c].mask.amax(1, keepdim=True) for c in spec.columns]
            total = torch.stack([read[c].vector * t for c, t in zip(spec.columns, there, strict=True)]).sum(0)
            joined = total / torch.stack(there).sum(0).clamp_min(1.0)
            out: Tensor = self.out[head](self.drop(joined))
            return out
        a, b = spec.columns
        if self.sizes.pairs == "together":
            parts = [self.encode([ids[a], ids[b]]).vector]
            left, right = self._tokens(ids[a]), self._tokens(ids[b])
        else:
            u, v = read[a].vector, read[b].vector
            parts = [u, v, (u - v).abs(), u * v]
            left, right = (read[a].tokens, read[a].mask), (read[b].tokens, read[b].mask)
        parts += _aligned(left, right)
        return self.out[head](F.relu(self.hidden[head](self.drop(torch.cat(parts, 1)))))  # type: ignore[no-any-return]

    def encode(self, texts: Sequence[Tensor]) -> Read:
        """One text, or two as one sequence."""
        embedded, masks = [], []
        for k, ids in enumerate(texts):
            e = self.embedding(known(ids, self.sizes.size))
            masks.append((ids > 0).to(torch.float32))
            embedded.append((e, self.position.weight[: ids.shape[1]] + self.segment.weight[k]))
        mask = torch.cat(masks, 1)
        plain = torch.cat([e for e, _ in embedded], 1)
        h = self.drop(torch.cat([e + place for e, place in embedded], 1))
        far = ((1 - mask) * FAR)[:, None, None]
        for layer in self.layers:
            h = layer(h, far)
        pooled = self.pooling(self.norm(h), mask)
        mean = (plain * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp_min(1.0)
        return Read(torch.cat([pooled, mean], 1), _unit(plain), mask)

    def _tokens(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        return _unit(self.embedding(known(ids, self.sizes.size))), (ids > 0).to(torch.float32)

    def _wide(self, head: TextHead) -> int:
        return (2 if self.sizes.pairs == "together" else 8) * self.sizes.d + 2

    # -- the same as nodes

    def emit(self, scope: Scope, ids: Sequence[str], wanted: Sequence[int]) -> list[str]:
        """ids: int64 [N, width] of every column.  wanted: heads.  Returns the raw answers of each."""
        read: dict[int, dict[str, str]] = {}
        shown: list[str] = []
        attended = ""
        for c in range(len(ids)):
            used = [h for h in wanted if c in self.specs[h].columns]
            if any(not self.specs[h].is_pair or self.sizes.pairs == "apart" for h in used):
                read[c] = self._emit_encode(scope, [ids[c]], [self.sizes.widths[c]])
                shown.append(read[c]["weights"])
            else:
                shown.append(scope.add("Mul", emit_mask(scope, ids[c]), scope.const(np.float32(0))))
        if read:
            attended = emit_attended(
                scope, shown[0] if len(shown) == 1 else scope.add("Concat", *shown, axis=1), "pieces"
            )
        answers = [self._emit_answer(scope, ids, read, h) for h in wanted]
        if attended:  # no answer is made of these weights alone, and what nothing is made of is left out of a graph
            total = scope.add("ReduceSum", attended, scope.const(np.array([1], np.int64)), keepdims=1)
            answers[0] = scope.add("Add", answers[0], scope.add("Mul", total, scope.const(np.float32(0))))
        return answers

    def _emit_answer(self, scope: Scope, ids: Sequence[str], read: dict[int, dict[str, str]], head: int) -> str:
        spec, out = self.specs[head], self.out[head]
        assert isinstance(out, nn.Linear)
        one = scope.const(np.array([1], np.int64))
        if not spec.is_pair:
            there = [scope.add("ReduceMax", read[c]["mask"], one, keepdims=1) for c in spec.columns]
            parts = [scope.add("Mul", read[c]["vector"], t) for c, t in zip(spec.columns, there, strict=True)]
            total = parts[0] if len(parts) == 1 else scope.add("Sum", *parts)
            count = there[0] if len(there) == 1 else scope.add("Sum", *there)
            return emit_linear(scope, out, scope.add("Div", total, scope.add("Max", count, scope.const(np.float32(1)))))
        a, b = spec.columns
        if self.sizes.pairs == "together":
            joined = self._emit_encode(scope, [ids[a], ids[b]], [self.sizes.widths[a], self.sizes.widths[b]])
            parts = [joined["vector"]]
            left, right = self._emit_tokens(scope, ids[a]), self._emit_tokens(scope, ids[b])
        else:
            u, v = read[a]["vector"], read[b]["vector"]
            parts = [u, v, scope.add("Abs", scope.add("Sub", u, v)), scope.add("Mul", u, v)]
            left, right = (read[a]["tokens"], read[a]["mask"]), (read[b]["tokens"], read[b]["mask"])
        parts += _emit_aligned(scope, left, right)
        hidden = self.hidden[head]
        assert isinstance(hidden, nn.Linear)
        return emit_linear(
            scope, out, scope.add("Relu", emit_linear(scope, hidden, scope.add("Concat", *parts, axis=1)))
        )

    def _emit_encode(self, scope: Scope, texts: Sequence[str], widths: Sequence[int]) -> dict[str, str]:
        one, two = (scope.const(np.array([v], np.int64)) for v in (1, 2))
        plain, placed, masks = [], [], []
        for k, (ids, width) in enumerate(zip(texts, widths, strict=True)):
            e = emit_embedding(scope, self.embedding, emit_known(scope, ids, self.sizes.size))
            place = array(self.position.weight)[:width] + array(self.segment.weight)[k]
            plain.append(e)
            placed.append(scope.add("Add", e, scope.const(place)))
            masks.append(emit_mask(scope, ids))
        mask = _joined(scope, masks)
        flat = scope.add("Mul", scope.add("Sub", scope.const(1.0), mask), scope.const(FAR))
        far = scope.add("Unsqueeze", flat, scope.const(np.array([1, 2], np.int64)))
        h = _joined(scope, placed)
        for layer in self.layers:
            assert isinstance(layer, Layer)
            h = layer.emit(scope, h, far, sum(widths))
        h = emit_norm(scope, self.norm, h)
        scores = scope.add("Add", scope.add("Squeeze", emit_linear(scope, self.pooling.score, h), two), flat)
        weights = scope.add("Mul", scope.add("Softmax", scores, axis=1), mask)
        pooled = scope.add("Squeeze", scope.add("MatMul", scope.add("Unsqueeze", weights, one), h), one)
        tokens = _joined(scope, plain)
        lit = scope.add("Mul", tokens, scope.add("Unsqueeze", mask, two))
        count = scope.add("Max", scope.add("ReduceSum", mask, one, keepdims=1), scope.const(np.float32(1)))
        mean = scope.add("Div", scope.add("ReduceSum", lit, one, keepdims=0), count)
        return {
            "vector": scope.add("Concat", pooled, mean, axis=1), "tokens": _emit_unit(scope, tokens), "mask": mask,
            "weights": weights,
        }  # fmt: skip

    def _emit_tokens(self, scope: Scope, ids: str) -> tuple[str, str]:
        e = emit_embedding(scope, self.embedding, emit_known(scope, ids, self.sizes.size))
        return _emit_unit(scope, e), emit_mask(scope, ids)


def _unit(x: Tensor) -> Tensor:
    return x / (x.square().sum(-1, keepdim=True) + TINY).sqrt()


def _aligned(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> list[Tensor]:
    """For each side the mean over its subwords of the nearest one's likeness on the other side; (B, 1) each."""
    (a, mask_a), (b, mask_b) = left, right
    likeness = a @ b.transpose(1, 2)  # (B, T, U)
    both = mask_a[:, :, None] * mask_b[:, None]
    seen = likeness * both - (1 - both)
    found = []
    for axis, mask in ((2, mask_a), (1, mask_b)):
        best = seen.amax(axis) * mask
        found.append((best.sum(1) / mask.sum(1).clamp_min(1.0))[:, None])
    return found


def _emit_unit(scope: Scope, x: str) -> str:
    square = scope.add("ReduceSum", scope.add("Mul", x, x), scope.const(np.array([-1], np.int64)), keepdims=1)
    return scope.add("Div", x, scope.add("Sqrt", scope.add("Add", square, scope.const(np.float32(TINY)))))


def _emit_aligned(scope: Scope, left: tuple[str, str], right: tuple[str, str]) -> list[str]:
    (a, mask_a), (b, mask_b) = left, right
    one, two = (scope.const(np.array([v], np.int64)) for v in (1, 2))
    likeness = scope.add("MatMul", a, scope.add("Transpose", b, perm=[0, 2, 1]))
    both = scope.add("Mul", scope.add("Unsqueeze", mask_a, two), scope.add("Unsqueeze", mask_b, one))
    seen = scope.add("Sub", scope.add("Mul", likeness, both), scope.add("Sub", scope.const(1.0), both))
    found = []
    for axis, mask in ((two, mask_a), (one, mask_b)):
        best = scope.add("Mul", scope.add("ReduceMax", seen, axis, keepdims=0), mask)
        count = scope.add("Max", scope.add("ReduceSum", mask, one, keepdims=1), scope.const(np.float32(1)))
        found.append(scope.add("Div", scope.add("ReduceSum", best, one, keepdims=1), count))
    return found


def _joined(scope: Scope, values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else scope.add("Concat", *values, axis=1)
