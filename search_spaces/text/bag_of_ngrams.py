"""The mean of learned n-gram embeddings with a linear answer, trained by gradient steps: fastText's classifier."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from assay.data.texts import TextRecipe
from assay.errors import TrialStopped
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, Int, When
from search_spaces.text._nets import ADAPTIVE, Training

_CHARS = {"none": (), "3-4": (3, 4), "3-6": (3, 4, 5, 6)}


@dataclass(frozen=True)
class BagOfNgramsConfig(Training):
    """d: width of embeddings.  words, chars: lengths of n-grams.  idf: rare n-grams weigh more in the mean."""

    learning_rate: Annotated[float, Float(5e-4, 5e-2, log=True), When("optimizer", *ADAPTIVE)] = 1e-2
    dropout: Annotated[float, Float(0.0, 0.6)] = 0.2
    epochs: Annotated[int, Int(4, 40, log=True)] = 10
    patience: Annotated[int, Int(2, 10)] = 3
    d: Annotated[int, Choice(8, 16, 32)] = 16
    words: Annotated[int, Int(1, 3)] = 2
    chars: Annotated[str, Choice(*_CHARS)] = "3-4"
    idf: Annotated[bool, Choice(True, False)] = True


class BagOfNgrams:
    name: ClassVar[str] = "bag_of_ngrams"
    tasks: ClassVar[frozenset[str]] = frozenset({"text_classification", "text_regression"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = BagOfNgramsConfig
    reference: ClassVar[str] = (
        "Joulin, Grave, Bojanowski, Mikolov: Bag of Tricks for Efficient Text Classification. EACL 2017"
    )

    def recipe(self, config: BagOfNgramsConfig) -> TextRecipe:
        return TextRecipe(("chars", "words"))

    def steps(self, config: BagOfNgramsConfig) -> int:
        return config.epochs

    def cost(self, config: BagOfNgramsConfig, shape: Shape) -> Cost:
        grams = 25.0 * config.words * shape.text_length(4096) + 120.0 * len(_CHARS[config.chars]) * shape.text_length()
        features = min(400_000.0, 6.0 * shape.n_rows + 5_000.0)
        steps = shape.n_rows / config.batch_size
        seconds = config.epochs * (steps * (1e-3 + 4e-9 * features * config.d) + shape.n_rows * grams * config.d * 4e-9)
        return Cost(0.1 + seconds, int(shape.n_rows * (4_000 + 24 * grams) + features * config.d * 24 + 4e7))

    def fit(self, config: BagOfNgramsConfig, data: Split, ctx: TrialContext) -> Predictor:
        """The embeddings and the linear layer are multiplied once trained, so the answer is a sum over n-grams."""
        import torch
        from scipy.sparse import csr_matrix, hstack

        from assay.nn.ngram_embeddings import NgramEmbeddings
        from search_spaces.tabular._answers import Constant, prior
        from search_spaces.text import _linear
        from search_spaces.text._bags import Kind, fit_bag
        from search_spaces.text._nets import Teacher

        orders = _CHARS[config.chars]
        kinds = [Kind("words", tuple(range(1, config.words + 1)))] + ([Kind("chars", orders, 2)] if orders else [])
        fitted = [f for k in kinds if (f := fit_bag(data.x, k, True, config.idf))]
        if not fitted or not np.any(data.y != data.y[0]):
            return Constant(prior(data.target, data.y, data.weight))
        if ctx.seconds_left() <= 0:
            raise TrialStopped
        bags = tuple(bag for bag, _ in fitted)
        x = csr_matrix(hstack([m for _, m in fitted], format="csr"))
        teacher = Teacher.of(config, data, ctx)
        x_valid = csr_matrix(hstack([b.matrix(data.x_valid[teacher.judged]) for b in bags], format="csr"))
        torch.manual_seed(ctx.seed)
        net = NgramEmbeddings(x.shape[1], config.d, config.dropout, teacher.n_outputs)

        def batches(epoch: int) -> Iterator[tuple[Any, Any]]:
            order = np.random.default_rng([ctx.seed, epoch]).permutation(len(data.y))
            for start in range(0, len(order), teacher.batch):
                rows = order[start : start + teacher.batch]
                yield _bag(x[rows], ctx.device), teacher.told(rows)

        def answer(module: Any) -> np.ndarray:
            parts = [module(_bag(x_valid[i : i + 2048], ctx.device)) for i in range(0, x_valid.shape[0], 2048)]
            return torch.cat(parts).cpu().numpy() if parts else np.zeros((0, teacher.n_outputs), np.float32)

        teacher.train(net, batches, answer)
        table, bias = net.cpu().joined()
        parts = _linear.split_bags(_linear.rounded(table), bags)
        if teacher.classes is None:
            return _linear.BagPredictor(bags, parts, bias, "linear", None, teacher.bounds)
        if teacher.n_outputs == 2:  # a softmax over two is a sigmoid of the difference
            parts = tuple(_linear.rounded(p[:, 1:] - p[:, :1]) for p in parts)
            bias = bias[1:] - bias[:1]
        return _linear.BagPredictor(bags, parts, bias, "softmax", teacher.classes)


def _bag(x: Any, device: str) -> Any:
    """A sparse matrix as (indices, offsets, weights) of an embedding bag."""
    import torch

    parts = (x.indices.astype(np.int64), x.indptr[:-1].astype(np.int64), x.data)
    return tuple(torch.from_numpy(p).to(device) for p in parts)


family = BagOfNgrams()
