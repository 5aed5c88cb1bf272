"""Convolutions over the words of a text, and the loudest answer of each filter.

Kim: Convolutional Neural Networks for Sentence Classification.  EMNLP 2014.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay.model.graph import Scope
from assay.nn.tokens import TextNet, array, emit_embedding, emit_known, emit_linear, emit_mask, known


class TextCnn(TextNet):
    """size: tokens in the vocabulary; d: width of embeddings; spans: lengths of filters, in tokens; filters of each."""

    def __init__(self, size: int, d: int, spans: Sequence[int], filters: int, dropout: float, n_outputs: int) -> None:
        super().__init__()
        self.size = size
        self.embedding = nn.Embedding(size, d)
        nn.init.normal_(self.embedding.weight, std=0.3)
        self.spans = tuple(spans)
        self.convolutions = nn.ModuleList(nn.Conv1d(d, filters, s) for s in spans)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(filters * len(spans), n_outputs)

    def forward(self, ids: Tensor) -> Tensor:
        mask = (ids > 0).to(torch.float32)
        h = self.embedding(known(ids, self.size)) * mask[:, :, None]
        h = self.dropout(h).transpose(1, 2)  # (B, T, d) -> (B, d, T)
        loudest = []
        for span, layer in zip(self.spans, self.convolutions, strict=True):
            padded = F.pad(h, ((span - 1) // 2, span // 2))
            loudest.append((torch.relu(layer(padded)) * mask[:, None]).amax(2))
        out: Tensor = self.head(self.dropout(torch.cat(loudest, 1)))
        return out

    def emit(self, scope: Scope, ids: str, width: int) -> str:
        def axis(v: int) -> str:
            return scope.const(np.array([v], np.int64))

        mask = emit_mask(scope, ids)
        h = emit_embedding(scope, self.embedding, emit_known(scope, ids, self.size))
        h = scope.add("Transpose", scope.add("Mul", h, scope.add("Unsqueeze", mask, axis(2))), perm=[0, 2, 1])
        wide = scope.add("Unsqueeze", mask, axis(1))
        loudest = []
        for span, layer in zip(self.spans, self.convolutions, strict=True):
            assert isinstance(layer, nn.Conv1d) and layer.bias is not None
            weight, bias = scope.const(array(layer.weight)), scope.const(array(layer.bias))
            found = scope.add("Relu", scope.add("Conv", h, weight, bias, pads=[(span - 1) // 2, span // 2]))
            loudest.append(scope.add("ReduceMax", scope.add("Mul", found, wide), axis(2), keepdims=0))
        joined = loudest[0] if len(loudest) == 1 else scope.add("Concat", *loudest, axis=1)
        return emit_linear(scope, self.head, joined)
