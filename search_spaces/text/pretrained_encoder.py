"""A pretrained encoder, frozen with its features computed once, or trained on: its last layers, or all of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from assay.data.texts import TextRecipe, Tokens
from assay.errors import FamilyUnavailable, TimedOut
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, Int, When
from search_spaces.tabular._answers import Constant, prior
from search_spaces.text._nets import ADAPTIVE, NetPredictor, Teacher, Training, fit_net, net_answers

if TYPE_CHECKING:
    from assay.nn.pretrained import Encoder, PretrainedNet

_LAST = 2  # layers that are trained when the encoder is unfrozen in part
_CHUNK = 256  # texts between two looks at the clock


@dataclass(frozen=True)
class PretrainedEncoderConfig(Training):
    """unfreeze: "frozen" trains the answer over fixed features, "partial" the last two layers too, "full" everything."""

    unfreeze: Annotated[str, Choice("frozen", "partial", "full")] = "frozen"
    head_learning_rate: Annotated[float, Float(1e-4, 3e-2, log=True), When("unfreeze", "frozen")] = 3e-3
    learning_rate: Annotated[float, Float(1e-5, 5e-4, log=True), When("optimizer", *ADAPTIVE)] = 1e-4
    sgd_learning_rate: Annotated[float, Float(1e-4, 1e-1, log=True)] = 1e-2
    dropout: Annotated[float, Float(0.0, 0.5)] = 0.1
    batch_size: Annotated[int, Choice(16, 32, 64)] = 32
    epochs: Annotated[int, Int(2, 20, log=True)] = 4


class PretrainedEncoder:
    name: ClassVar[str] = "pretrained_encoder"
    tasks: ClassVar[frozenset[str]] = frozenset({"text_classification", "text_regression"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = PretrainedEncoderConfig
    reference: ClassVar[str] = (
        "Devlin, Chang, Lee, Toutanova: BERT: Pre-training of Deep Bidirectional Transformers for Language "
        "Understanding. NAACL 2019; Wang et al.: MiniLM. NeurIPS 2020"
    )

    def missing(self) -> str:
        """Why it cannot run here, with the way out; "" when it can."""
        from assay.nn.weights import why_not

        return why_not()

    def recipe(self, config: PretrainedEncoderConfig) -> TextRecipe:
        return TextRecipe(("encoder",))

    def steps(self, config: PretrainedEncoderConfig) -> int:
        return _head_epochs(config) if config.unfreeze == "frozen" else config.epochs

    def cost(self, config: PretrainedEncoderConfig, shape: Shape) -> Cost:
        # seconds of the encoder on one core: 9 ms for a text of some 32 tokens
        once = 9e-3 * shape.n_rows * shape.text_length(300, 40)
        passes = {"frozen": 0.4, "partial": 2.0 * config.epochs, "full": 3.5 * config.epochs}[config.unfreeze]
        return Cost(0.5 + once * passes, int(8e8 + 4_000 * shape.n_rows))

    def fit(self, config: PretrainedEncoderConfig, data: Split, ctx: TrialContext) -> Predictor:
        reason = self.missing()
        if reason:
            raise FamilyUnavailable(f"pretrained_encoder: {reason}")
        if not isinstance(data.x, Tokens) or not data.x.blocks or not np.any(data.y != data.y[0]):
            return Constant(prior(data.target, data.y, data.weight))
        if config.unfreeze == "frozen":
            return _fit_frozen(config, data, ctx)

        def make(size: int, width: int, k: int) -> PretrainedNet:
            from assay.nn.pretrained import PretrainedNet, load_encoder
            from assay.nn.weights import find_weights

            weights = find_weights()
            assert weights is not None
            encoder = load_encoder(weights)
            if config.unfreeze == "partial":
                encoder.requires_grad_(False)
                for layer in list(encoder.layers)[-_LAST:]:
                    layer.requires_grad_(True)
            return PretrainedNet(encoder, config.dropout, k)

        found = fit_net(config, data, ctx, "encoder", make)
        if isinstance(found, NetPredictor):
            _shortened(found.net)
        return found


def _shortened(net: Any) -> None:
    from assay.nn.pretrained import shorten

    shorten(net.encoder)


def _fit_frozen(config: PretrainedEncoderConfig, data: Split, ctx: TrialContext) -> Predictor:
    """Features of every text are computed once in a process; what is trained is a linear answer over them."""
    import torch

    from assay.nn.pretrained import PretrainedNet

    assert isinstance(data.x, Tokens)
    start, width = data.x.blocks[0].start, data.x.blocks[-1].end - data.x.blocks[0].start
    encoder = _encoder()
    teacher = Teacher.of(
        dataclasses.replace(
            config, epochs=_head_epochs(config), learning_rate=config.head_learning_rate, patience=4 * config.patience
        ),
        data,
        ctx,
    )
    torch.manual_seed(ctx.seed)
    torch.set_num_threads(ctx.threads)
    features = _features(encoder, data.x, ctx, start, width)
    judged = _features(encoder, data.x_valid[teacher.judged], ctx, start, width)
    mean, spread = features.mean(0), np.maximum(features.std(0), 1e-6)
    net = PretrainedNet(encoder, config.dropout, teacher.n_outputs, attends=False)
    head = torch.nn.Sequential(torch.nn.Dropout(config.dropout), torch.nn.Linear(encoder.d, teacher.n_outputs))

    def batches(epoch: int) -> Iterator[tuple[Any, Any]]:
        order = np.random.default_rng([ctx.seed, epoch]).permutation(len(features))
        for i in range(0, len(order), teacher.batch):
            rows = order[i : i + teacher.batch]
            yield torch.from_numpy((features[rows] - mean) / spread).to(ctx.device), teacher.told(rows)

    scaled = torch.from_numpy((judged - mean) / spread).to(ctx.device)
    teacher.train(head, batches, lambda module: np.asarray(module(scaled).detach().cpu().numpy()))
    linear = head.cpu()[1]
    assert isinstance(linear, torch.nn.Linear)
    with torch.no_grad():  # the scaling goes into the linear layer
        net.head.weight.copy_(linear.weight / torch.from_numpy(spread))
        net.head.bias.copy_(linear.bias - net.head.weight @ torch.from_numpy(mean))
    return FrozenPredictor(net.eval(), start, width, teacher.classes, teacher.bounds)


class FrozenPredictor(NetPredictor):
    """Answers from remembered features where there are some; its graph holds the whole encoder."""

    def answers(self, x: np.ndarray) -> np.ndarray:
        head: Any = self.net.head
        features = _features(_encoder(), x, None, self.start, self.width)
        weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
        return np.asarray(features @ weight.T + bias, np.float32)


def _head_epochs(config: PretrainedEncoderConfig) -> int:
    return 10 * config.epochs


@cache
def _encoder() -> Encoder:
    from assay.nn.pretrained import load_encoder
    from assay.nn.weights import find_weights

    weights = find_weights()
    assert weights is not None
    return load_encoder(weights).requires_grad_(False)


def _features(encoder: Encoder, x: np.ndarray, ctx: TrialContext | None, start: int, width: int) -> np.ndarray:
    """The mean vector of the tokens of each row.  float32 (n, d).  Raises TimedOut.

    Rows that came from one column are remembered by text, for the other folds and trials of this process.
    """
    ids = np.asarray(x)[:, start : start + width]
    origin = x.origin if isinstance(x, Tokens) else None
    if origin is None or len(origin) != 1:
        return _means(encoder, ids, ctx)
    encoded, rows = origin[0]
    memory = encoded.memory.setdefault("encoder", {})
    wanted = [r for r in dict.fromkeys(rows.tolist()) if r not in memory]
    first = {r: i for i, r in reversed(list(enumerate(rows.tolist())))}
    for i in range(0, len(wanted), _CHUNK):
        part = wanted[i : i + _CHUNK]
        memory.update(zip(part, _means(encoder, ids[[first[r] for r in part]], ctx), strict=True))
    return np.stack([memory[r] for r in rows.tolist()]) if len(rows) else np.zeros((0, encoder.d), np.float32)


def _means(encoder: Encoder, ids: np.ndarray, ctx: TrialContext | None) -> np.ndarray:
    import torch

    class Mean(torch.nn.Module):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            mask = (ids > 0).to(torch.float32)
            mean: torch.Tensor = (encoder(ids) * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1.0)
            return mean

    parts = []
    for i in range(0, len(ids), _CHUNK):
        if ctx is not None and ctx.seconds_left() <= 0:
            raise TimedOut(f"the features of {i} of {len(ids)} texts were computed in time; allow more, or fewer rows")
        parts.append(net_answers(Mean(), ids[i : i + _CHUNK]))
    return np.concatenate(parts) if parts else np.zeros((0, encoder.d), np.float32)


family = PretrainedEncoder()
