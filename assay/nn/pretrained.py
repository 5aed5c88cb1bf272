"""A BERT or RoBERTa encoder from its weights, in torch and as nodes.

Devlin, Chang, Lee, Toutanova: BERT: Pre-training of Deep Bidirectional Transformers.  NAACL 2019.  Liu et al.: RoBERTa,
2019, differs in where positions start.  Numbers are kept with 16 bits of precision, which halves what is delivered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay.model.graph import Scope
from assay.nn.text_encoder import FAR, Attention, Pooling
from assay.nn.tokens import TextNet, array, emit_linear, emit_mask, emit_norm, emit_weight
from assay.nn.weights import WAY_OUT, Weights


class EncoderLayer(nn.Module):
    """norm(h + attention(h)), then norm(h + feed-forward(h))."""

    def __init__(self, d: int, heads: int, wide: int, eps: float) -> None:
        super().__init__()
        self.attention = Attention(d, heads)
        self.norm1, self.norm2 = nn.LayerNorm(d, eps), nn.LayerNorm(d, eps)
        self.up, self.down = nn.Linear(d, wide), nn.Linear(wide, d)

    def forward(self, h: Tensor, far: Tensor) -> Tensor:
        h = self.norm1(h + self.attention(h, far))
        out: Tensor = self.norm2(h + self.down(F.gelu(self.up(h))))
        return out

    def emit(self, scope: Scope, h: str, far: str, width: int) -> str:
        h = emit_norm(scope, self.norm1, scope.add("Add", h, self.attention.emit(scope, h, far, width)))
        up = scope.add("Gelu", emit_linear(scope, self.up, h), approximate="none")
        return emit_norm(scope, self.norm2, scope.add("Add", h, emit_linear(scope, self.down, up)))


class Encoder(nn.Module):
    """Token numbers, one more than the tokenizer's so that 0 is the end, to a vector for each token."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        d, eps = int(config["hidden_size"]), float(config.get("layer_norm_eps", 1e-12))
        self.d, self.size = d, int(config["vocab_size"])
        self.first = 0 if config.get("model_type") == "bert" else int(config.get("pad_token_id", 1)) + 1
        self.longest = int(config["max_position_embeddings"]) - self.first
        self.words = nn.Embedding(self.size, d)
        self.positions = nn.Embedding(int(config["max_position_embeddings"]), d)
        self.kind = nn.Parameter(torch.zeros(d))
        self.norm = nn.LayerNorm(d, eps)
        wide, heads = int(config["intermediate_size"]), int(config["num_attention_heads"])
        n_layers = int(config["num_hidden_layers"])
        self.layers = nn.ModuleList(EncoderLayer(d, heads, wide, eps) for _ in range(n_layers))

    def forward(self, ids: Tensor) -> Tensor:
        """int64 (B, T) -> (B, T, d)."""
        far = ((ids <= 0).to(torch.float32) * FAR)[:, None, None]
        h = self.words((ids - 1).clamp(0, self.size - 1))
        out: Tensor = self.norm(h + self.positions.weight[self.first : self.first + ids.shape[1]] + self.kind)
        for layer in self.layers:
            out = layer(out, far)
        return out

    def emit(self, scope: Scope, ids: str, width: int, flat: str) -> str:
        """flat: float32 [N, width], 0 for tokens and FAR behind them -> [N, width, d]."""
        far = scope.add("Unsqueeze", flat, scope.const(np.array([1, 2], np.int64)))
        low, high = scope.const(np.int64(0)), scope.const(np.int64(self.size - 1))
        own = scope.add("Clip", scope.add("Sub", ids, scope.const(np.int64(1))), low, high)
        table = emit_weight(scope, array(self.words.weight))
        place = array(self.positions.weight)[self.first : self.first + width] + array(self.kind)
        h = emit_norm(scope, self.norm, scope.add("Add", scope.add("Gather", table, own), scope.const(place)))
        for layer in self.layers:
            assert isinstance(layer, EncoderLayer)
            h = layer.emit(scope, h, far, width)
        return h


class PretrainedNet(TextNet):
    """An encoder, the mean of its tokens under a learned query, and a linear answer.

    attends: the query is learned, so its weights are worth showing.
    """

    def __init__(self, encoder: Encoder, dropout: float, n_outputs: int, attends: bool = True) -> None:
        super().__init__()
        self.attends = attends
        self.encoder = encoder
        self.pooling = Pooling(encoder.d)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.d, n_outputs)

    def forward(self, ids: Tensor) -> Tensor:
        mask = (ids > 0).to(torch.float32)
        out: Tensor = self.head(self.dropout(self.pooling(self.encoder(ids), mask)))
        return out

    def emit(self, scope: Scope, ids: str, width: int) -> str:
        mask = emit_mask(scope, ids)
        flat = scope.add("Mul", scope.add("Sub", scope.const(1.0), mask), scope.const(FAR))
        h = self.encoder.emit(scope, ids, width, flat)
        return emit_linear(scope, self.head, self.pooling.emit(scope, h, mask, flat, "encoder" if self.attends else ""))


def load_encoder(weights: Weights) -> Encoder:
    """The encoder of a folder, in evaluation mode.  Raises ValueError for weights that do not fit its configuration."""
    config = weights.config
    if config.get("hidden_act", "gelu") != "gelu" or config.get("position_embedding_type", "absolute") != "absolute":
        raise ValueError(f"the encoder in {weights.folder.name} has parts that are not read here; {WAY_OUT}")
    encoder, found = Encoder(config), weights.tensors()
    head = "embeddings."
    names = {
        "words.weight": f"{head}word_embeddings.weight",
        "positions.weight": f"{head}position_embeddings.weight",
        "norm.weight": f"{head}LayerNorm.weight",
        "norm.bias": f"{head}LayerNorm.bias",
    }
    parts = {
        "attention.query": "attention.self.query",
        "attention.key": "attention.self.key",
        "attention.value": "attention.self.value",
        "attention.out": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "norm2": "output.LayerNorm",
    }
    for i in range(len(encoder.layers)):
        for own, theirs in parts.items():
            for what in ("weight", "bias"):
                names[f"layers.{i}.{own}.{what}"] = f"encoder.layer.{i}.{theirs}.{what}"
    try:
        state = {own: torch.from_numpy(found[theirs]) for own, theirs in names.items()}
        state["kind"] = torch.from_numpy(found[f"{head}token_type_embeddings.weight"][0])
        encoder.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"the weights in {weights.folder.name} do not fit its config.json: {error}") from None
    return shorten(encoder).eval()


@torch.no_grad()
def shorten(encoder: Encoder) -> Encoder:
    """In place, all numbers to the 16 bits of precision that are delivered."""
    for value in encoder.parameters():
        value.copy_(value.to(torch.float16).to(torch.float32))
    return encoder
