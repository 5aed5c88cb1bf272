"""What answers from features of pictures: a linear model, a kernel machine or a small net, all quick to train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.families import Split, TrialContext
from assay.model.graph import Graph, Scope

REACH = 8.0  # features have deviation one; beyond this many they are cut, so that one picture cannot own a model
INNER = 0.15  # share of the training rows that chooses a ridge and a temperature
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
TEMPERATURES = np.geomspace(0.02, 2.0, 25)


@dataclass(frozen=True, eq=False)
class Steps:
    """A predictor as a list of array steps: the same list predicts with numpy and is written as nodes.

    ("clip", r)  ("affine", w, b)  ("relu",)  ("rbf", landmarks, gamma)  ("single",)  ("softmax",)
    Those between "rbf" and "single" are in float64.
    """

    steps: tuple[tuple[Any, ...], ...]

    def predict(self, x: np.ndarray) -> np.ndarray:
        parts = [self._run(x[i : i + 2048]) for i in range(0, max(1, len(x)), 2048)]
        return np.concatenate(parts)

    def _run(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, np.float32)
        for name, *values in self.steps:
            if name == "clip":
                x = np.clip(x, -values[0], values[0])
            elif name == "affine":
                x = x @ values[0] + values[1]
            elif name == "relu":
                x = np.maximum(x, 0)
            elif name == "rbf":
                x = rbf(x, values[0], values[1])
            elif name == "single":
                x = x.astype(np.float32)
            else:
                e = np.exp(x - x.max(1, keepdims=True))
                x = e / e.sum(1, keepdims=True)
        return np.asarray(x)

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        for name, *values in self.steps:
            if name == "clip":
                x = scope.add("Clip", x, scope.const(np.float32(-values[0])), scope.const(np.float32(values[0])))
            elif name == "affine":
                w, b = (scope.const(v, v.dtype) for v in values)
                x = scope.add("Add", scope.add("MatMul", x, w), b)
            elif name == "relu":
                x = scope.add("Relu", x)
            elif name == "rbf":
                x = _add_rbf(scope, x, values[0], values[1])
            elif name == "single":
                x = scope.add("Cast", x, to=1)
            else:
                x = scope.add("Softmax", x, axis=-1)
        return scope.graph(x)


def rbf(x: np.ndarray, landmarks: np.ndarray, gamma: float) -> np.ndarray:
    """exp(-gamma * squared distance).  float64 (n, m): many responses of either sign cancel in what is made of them."""
    x, landmarks = x.astype(np.float64), landmarks.astype(np.float64)
    squares = (x * x).sum(1, keepdims=True) + (landmarks * landmarks).sum(1) - 2.0 * (x @ landmarks.T)
    return np.asarray(np.exp(-gamma * np.maximum(squares, 0)))


def _add_rbf(scope: Scope, x: str, landmarks: np.ndarray, gamma: float) -> str:
    x = _double(scope, x)
    far = landmarks.astype(np.float64)
    own = scope.add("ReduceSum", scope.add("Mul", x, x), scope.const(np.array([1], np.int64)), keepdims=1)
    cross = scope.add("MatMul", x, _double(scope, scope.const(np.ascontiguousarray(landmarks.T))))
    twice = scope.add("Mul", cross, scope.const(np.array(-2.0), np.float64))
    squares = scope.add("Add", scope.add("Add", own, twice), scope.const((far * far).sum(1), np.float64))
    return scope.add("Exp", scope.add("Mul", scope.add("Relu", squares), scope.const(np.array(-gamma), np.float64)))


def _double(scope: Scope, x: str) -> str:
    return scope.add("Cast", x, to=11)


def fit_logistic(data: Split, ctx: TrialContext, l2: float, smoothing: float = 0.0) -> Steps:
    """Multinomial logistic regression, L-BFGS.  l2: penalty on the mean loss, for features of deviation one."""
    import torch

    torch.set_num_threads(ctx.threads)
    x = torch.from_numpy(np.clip(data.x, -REACH, REACH).astype(np.float32)).to(ctx.device)
    y = torch.from_numpy(data.y).to(ctx.device)
    share = None if data.weight is None else torch.from_numpy(data.weight.astype(np.float32)).to(ctx.device)
    k = data.target.n_classes
    w = torch.zeros((x.shape[1], k), device=ctx.device, requires_grad=True)
    b = torch.log(torch.bincount(y, minlength=k).float().clamp_min(0.1) / len(y)).requires_grad_()

    def loss() -> Any:
        optimizer.zero_grad()
        rows = torch.nn.functional.cross_entropy(x @ w + b, y, reduction="none", label_smoothing=smoothing)
        value = (rows if share is None else rows * share).mean() + l2 * w.square().sum()
        value.backward()
        return value

    optimizer = torch.optim.LBFGS([w, b], max_iter=8, history_size=10, line_search_fn="strong_wolfe")
    before = np.inf
    for _ in range(15):
        value = float(optimizer.step(loss).detach())
        if not np.isfinite(value) or before - value < 1e-4 * abs(before) or ctx.seconds_left() < 1.0:
            break
        before = value
    affine = ("affine", w.detach().cpu().numpy(), b.detach().cpu().numpy())
    return Steps((("clip", REACH), affine, ("softmax",)))


def fit_kernel(data: Split, ctx: TrialContext, landmarks: int, width: float, components: int) -> Steps:
    """Least squares on a Gaussian kernel's responses to landmarks, after principal components.

    Williams, Seeger: Using the Nystroem Method to Speed Up Kernel Machines. NIPS 2000.  The ridge and the temperature of
    the softmax over the responses are chosen on an inner part of the training rows; then all of them are used.  width:
    the kernel's, as a multiple of the usual distance of two pictures.
    """
    rng = np.random.default_rng(ctx.seed)
    x = np.clip(data.x, -REACH, REACH).astype(np.float32)
    n, k = len(x), data.target.n_classes
    mean, basis = principal(x, min(components, x.shape[1], max(2, n - 1)), rng)
    z = (x - mean) @ basis
    few = rng.choice(n, min(n, 400), replace=False)
    typical = float(np.median(((z[few, None, :] - z[None, few[:50], :]) ** 2).sum(-1)))
    gamma = 1.0 / max(width * width * typical, 1e-6)
    at = np.sort(rng.choice(n, min(n, landmarks), replace=False))
    phi = rbf(z, z[at], gamma)
    targets = np.eye(k)[data.y] - 1.0 / k
    weight = np.ones(n) if data.weight is None else data.weight
    inner = rng.permutation(n) < max(1, round(INNER * n))
    gram = phi[at]
    solve = _Ridge(phi[~inner], targets[~inner], weight[~inner], gram)
    best = (np.inf, RIDGES[-1], 1.0)
    for ridge in RIDGES:
        found = phi[inner] @ solve(ridge)
        for t in TEMPERATURES:
            best = min(best, (_log_loss(found / t, data.y[inner], weight[inner]), ridge, float(t)))
        if ctx.seconds_left() < 2.0:
            break
    _, ridge, temperature = best
    bias = _bias(phi[inner] @ solve(ridge) / temperature, data.y[inner]) + _shift(data.y, weight, k)
    coefficients = _Ridge(phi, targets, weight, gram)(ridge) / temperature
    first = ("affine", basis, (-mean @ basis).astype(np.float32))
    last = ("affine", coefficients, bias)
    responses = ("rbf", np.ascontiguousarray(z[at]), gamma)
    return Steps((("clip", REACH), first, responses, last, ("single",), ("softmax",)))


def _bias(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What is added to the logits so that every class is answered as often as it occurs."""
    n, k = logits.shape
    wanted = (np.bincount(y, minlength=k) + 1.0 / k) / (n + 1)
    bias = np.zeros(k)
    for _ in range(100):
        z = logits + bias
        p = np.exp(z - z.max(1, keepdims=True))
        bias -= 2.0 * ((p / p.sum(1, keepdims=True)).mean(0) - wanted)
    return bias


def _shift(y: np.ndarray, weight: np.ndarray, k: int) -> np.ndarray:
    """Log ratio of the classes' shares by weight to those by count: a kernel that fits every row hardly minds weights."""
    shares = [(np.bincount(y, w, k) + 1.0 / k) / (w.sum() + 1) for w in (weight, np.ones(len(y)))]
    return np.asarray(np.log(shares[0]) - np.log(shares[1]))


class _Ridge:
    """(phi' W phi + ridge * n * gram)^-1 phi' W y for several ridges, in a basis in which the gram matrix is the identity."""

    def __init__(self, phi: np.ndarray, y: np.ndarray, weight: np.ndarray, gram: np.ndarray) -> None:
        import scipy.linalg

        values, vectors = scipy.linalg.eigh(gram)
        keep = values > 1e-6 * values[-1]
        self.basis = vectors[:, keep] / np.sqrt(values[keep])
        a = phi @ self.basis
        self.n = len(phi)
        self.values, self.vectors = scipy.linalg.eigh((a * weight[:, None]).T @ a)
        self.right = self.vectors.T @ ((a * weight[:, None]).T @ y)

    def __call__(self, ridge: float) -> np.ndarray:
        inner = self.right / (np.maximum(self.values, 0) + ridge * self.n)[:, None]
        return np.asarray(self.basis @ (self.vectors @ inner))


def principal(x: np.ndarray, d: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(mean (p,), basis (p, d)) of the first principal components; randomised (Halko, Martinsson, Tropp 2011)."""
    mean = x.mean(0)
    centred = x - mean
    if d >= min(x.shape):
        return mean, np.linalg.svd(centred, full_matrices=False)[2].T.astype(np.float32)
    draw = centred @ rng.standard_normal((x.shape[1], d + 20)).astype(np.float32)
    for _ in range(2):
        q = np.linalg.qr(draw)[0]
        draw = centred @ (centred.T @ q)
    q = np.linalg.qr(draw)[0]
    basis = np.linalg.svd(q.T @ centred, full_matrices=False)[2][:d].T
    return mean, np.ascontiguousarray(basis, np.float32)


def _log_loss(logits: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """With a little doubt about every label, less the more there are, so that a few right answers make no certainty."""
    z = logits - logits.max(1, keepdims=True)
    doubt = 1.0 / (len(y) + 1)
    rows = np.log(np.exp(z).sum(1)) - (1 - doubt) * z[np.arange(len(y)), y] - doubt * z.mean(1)
    return float(np.average(rows, weights=weight if weight.sum() > 0 else None))


def fit_mlp(
    data: Split, ctx: TrialContext, width: int, epochs: int, dropout: float, score: Callable[[np.ndarray], float]
) -> Steps:
    """One hidden layer, AdamW over one cycle.  score: of validation probabilities, reported after every epoch."""
    import torch

    from assay.errors import Diverged, TrialStopped
    from assay.model.calibrate import likely_temperature

    torch.set_num_threads(ctx.threads)
    torch.manual_seed(ctx.seed)
    x = torch.from_numpy(np.clip(data.x, -REACH, REACH).astype(np.float32)).to(ctx.device)
    y = torch.from_numpy(data.y).to(ctx.device)
    share = torch.ones(len(y)) if data.weight is None else torch.from_numpy(data.weight.astype(np.float32))
    share = share.to(ctx.device)
    first, second = torch.nn.Linear(x.shape[1], width), torch.nn.Linear(width, data.target.n_classes)
    drop = torch.nn.Dropout(dropout)
    net = torch.nn.Sequential(drop, first, torch.nn.ReLU(), drop, second).to(ctx.device)
    batch = min(128, max(8, len(x) // 8))
    rounds = max(1, min(epochs, ctx.max_steps))
    per_epoch = -(-len(x) // batch)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=rounds * per_epoch)

    def now() -> Steps:
        tensors = (first.weight.T, first.bias, second.weight.T, second.bias)
        arrays = [np.ascontiguousarray(a.detach().cpu().numpy()).copy() for a in tensors]
        return Steps(
            (
                ("clip", REACH),
                ("affine", arrays[0], arrays[1]),
                ("relu",),
                ("affine", arrays[2], arrays[3]),
                ("softmax",),
            )
        )

    for epoch in range(rounds):
        net.train()
        order = torch.randperm(len(x))
        for i in range(per_epoch):
            rows = order[i * batch : (i + 1) * batch].to(ctx.device)
            losses = torch.nn.functional.cross_entropy(net(x[rows]), y[rows], reduction="none", label_smoothing=0.05)
            value = (losses * share[rows]).mean()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            cycle.step()
        if not bool(torch.isfinite(value)):
            raise Diverged(f"the loss of the head became {float(value)} in epoch {epoch + 1}")
        try:
            ctx.report(epoch + 1, score(now().predict(data.x_valid)))
        except TrialStopped:
            break
        if ctx.seconds_left() < 0.5:
            break
    if not len(data.y_valid):  # all rows are trained on: nothing is left to learn a temperature from
        return now()
    t = likely_temperature(data.y_valid, now().predict(data.x_valid).astype(np.float64), data.weight_valid)
    with torch.no_grad():
        second.weight.div_(t)
        second.bias.div_(t)
    return now()
