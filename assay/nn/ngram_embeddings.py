"""The weighted sum of embeddings of the n-grams of a text, and a linear layer over it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


class NgramEmbeddings(nn.Module):
    """size: n-grams; d: width of their embeddings."""

    def __init__(self, size: int, d: int, dropout: float, n_outputs: int) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(size, d, mode="sum")
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(d, n_outputs)

    def forward(self, bag: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """bag: n-grams of all texts end to end, where each text begins, and their weights -> (B, n_outputs)."""
        indices, offsets, weights = bag
        out: Tensor = self.head(self.dropout(self.embedding(indices, offsets, per_sample_weights=weights)))
        return out

    @torch.no_grad()
    def joined(self) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings times the linear layer: float32 (size, n_outputs), and the bias (n_outputs,)."""
        table = self.embedding.weight @ self.head.weight.T
        return table.numpy(), self.head.bias.detach().numpy().copy()
