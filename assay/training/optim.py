"""Seven gradient methods as one update: each is a row of coefficients, so a population may mix them freely.

With gradient g, parameters p and two buffers m, v per member, one step is

    p *= 1 - lr * decay                     decoupled weight decay (AdamW); the others add l2 * p to g
    v  = cv1 * v + cv2 * g * g
    d  = sqrt(v) / root + eps               for members without second moments d = 1
    m  = cm1 * m + cm2 * (g / d  if pre  else  g)
    u  = cg * g + cm * m                    (0, 1) with momentum; Nesterov looks ahead: (1, momentum); without: (1, 0)
    p -= lr * (u  if pre  else  u / d)

`pre` is RMSprop with momentum, which runs over scaled gradients.  The results are those of torch.optim: SGD; Polyak's
momentum (1964); Nesterov's in the form of Sutskever et al. (2013); Adagrad (Duchi et al., 2011); RMSprop (Tieleman and
Hinton, 2012); Adam (Kingma and Ba, 2015); AdamW (Loshchilov and Hutter, 2019).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

OPTIMIZERS = ("sgd", "momentum", "nesterov", "adam", "adamw", "adagrad", "rmsprop")
_SECOND_MOMENT = ("adam", "adamw", "adagrad", "rmsprop")
_DEFAULT_EPS = {"adagrad": 1e-10}


@dataclass(frozen=True)
class Rule:
    """A gradient method with its numbers.  Those it has no use for are ignored.

    weight_decay is decoupled for adamw and an L2 penalty for the others; beta2 is also RMSprop's decay rate; eps None
    takes the method's usual one.
    """

    name: str
    learning_rate: float
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float | None = None
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in OPTIMIZERS:
            raise ValueError(f"no optimizer is called {self.name!r}; known: {', '.join(OPTIMIZERS)}")

    @property
    def epsilon(self) -> float:
        return _DEFAULT_EPS.get(self.name, 1e-8) if self.eps is None else self.eps


@dataclass(frozen=True, eq=False)
class Pace:
    """What changes from step to step, for one step of K members; each (K, 1).

    lr: learning rate times schedule, less Adam's first-moment correction.  root: square root of Adam's second-moment
    correction, else 1.  shrink: lr * decoupled decay.  l2: the L2 penalty.
    """

    lr: Tensor
    root: Tensor
    shrink: Tensor
    l2: Tensor


class Update:
    """The update of K members as elementwise work on (K, P) buffers."""

    def __init__(
        self,
        rules: Sequence[Rule],
        device: str,
        dtype: torch.dtype,
        lr_row: Tensor | None = None,
        decay_row: Tensor | None = None,
    ) -> None:
        """lr_row, decay_row: (1, P) factors per parameter; None is all ones."""

        def column(values: Iterable[float]) -> Tensor:
            return torch.tensor(list(values), device=device, dtype=dtype).view(-1, 1)

        self.rules = tuple(rules)
        self.lr_row, self.decay_row = lr_row, decay_row
        rows = [_coefficients(r) for r in rules]
        self.cm1, self.cm2, self.cv1, self.cv2, self.use_v, self.eps, self.cg, self.cm, self.pre = (
            column(c) for c in zip(*rows, strict=True)
        )
        names = {r.name for r in rules}
        self.has_v = bool(names & set(_SECOND_MOMENT))
        self.has_pre = any(_rms_momentum(r) for r in rules)
        self.has_m = any(_has_memory(r) for r in rules)
        self.has_g = any(r.name == "nesterov" or not _has_memory(r) for r in rules)
        self.has_l2 = any(r.name != "adamw" and r.weight_decay > 0 for r in rules)
        self.has_shrink = any(r.name == "adamw" and r.weight_decay > 0 for r in rules)

    def take(self, keep: Tensor, device: str, dtype: torch.dtype) -> Update:
        """The update of the members at these positions."""
        return Update([self.rules[i] for i in keep.tolist()], device, dtype, self.lr_row, self.decay_row)

    @torch.no_grad()
    def apply(self, p: Tensor, g: Tensor, m: Tensor, v: Tensor, pace: Pace) -> None:
        """Change p, m and v in place; g is used up.  All (K, P)."""
        if self.has_shrink:
            p.mul_(1.0 - (pace.shrink if self.decay_row is None else pace.shrink * self.decay_row))
        if self.has_l2:
            g.addcmul_(p, pace.l2 if self.decay_row is None else pace.l2 * self.decay_row)
        d: Tensor | None = None
        if self.has_v:
            v.mul_(self.cv1).addcmul_(g * g, self.cv2)
            d = v.sqrt().mul_(self.use_v / pace.root).add_(self.eps)
        u = g
        if self.has_m:
            scaled = torch.where(self.pre > 0, g / d, g) if d is not None and self.has_pre else g
            m.mul_(self.cm1).addcmul_(scaled, self.cm2)
            u = m * self.cm + self.cg * g if self.has_g else m
        if d is not None:
            u = u / (torch.where(self.pre > 0, 1.0, d) if self.has_pre else d)
        lr = pace.lr if self.lr_row is None else pace.lr * self.lr_row
        p.addcmul_(u, lr, value=-1.0)


def paces(
    rules: Sequence[Rule], done: np.ndarray, lr: np.ndarray, decay: np.ndarray, device: str, dtype: torch.dtype
) -> list[Pace]:
    """The paces of the next S steps.

    done: (K,) steps each member has taken.  lr, decay: (S, K) schedule factors on learning rate and weight decay.
    """
    steps = done[None, :] + 1.0 + np.arange(len(lr))[:, None]  # (S, K), 1-based as in Adam's corrections
    adam = np.array([r.name in ("adam", "adamw") for r in rules])
    b1 = np.array([r.beta1 for r in rules]) * adam
    b2 = np.array([r.beta2 for r in rules]) * adam
    rate = np.array([r.learning_rate for r in rules]) * lr
    wd = np.array([r.weight_decay for r in rules]) * decay
    decoupled = np.array([r.name == "adamw" for r in rules])

    def columns(a: np.ndarray) -> Tensor:
        return torch.as_tensor(a, device=device, dtype=dtype)[:, :, None]  # (S, K, 1)

    parts = (rate / (1.0 - b1**steps), np.sqrt(1.0 - b2**steps), rate * wd * decoupled, wd * ~decoupled)
    return [Pace(*step) for step in zip(*(columns(a).unbind(0) for a in parts), strict=True)]


def torch_optimizer(rule: Rule, params: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The same method as an ordinary torch optimizer."""
    lr, wd, eps = rule.learning_rate, rule.weight_decay, rule.epsilon
    if rule.name in ("sgd", "momentum", "nesterov"):
        momentum = 0.0 if rule.name == "sgd" else rule.momentum
        return torch.optim.SGD(params, lr, momentum, weight_decay=wd, nesterov=rule.name == "nesterov")
    if rule.name == "adagrad":
        return torch.optim.Adagrad(params, lr, weight_decay=wd, eps=eps)
    if rule.name == "rmsprop":
        return torch.optim.RMSprop(params, lr, alpha=rule.beta2, eps=eps, weight_decay=wd, momentum=rule.momentum)
    kind = torch.optim.AdamW if rule.name == "adamw" else torch.optim.Adam
    # one pass over the weights instead of a dozen: with small batches of pictures that is felt
    return kind(params, lr, betas=(rule.beta1, rule.beta2), eps=eps, weight_decay=wd, fused=True)


def _rms_momentum(rule: Rule) -> bool:
    return rule.name == "rmsprop" and rule.momentum > 0


def _has_memory(rule: Rule) -> bool:
    return rule.name in ("momentum", "nesterov", "adam", "adamw") or _rms_momentum(rule)


def _coefficients(r: Rule) -> tuple[float, ...]:
    """cm1, cm2, cv1, cv2, use_v, eps, cg, cm, pre of one member."""
    if r.name in ("adam", "adamw"):
        cm1, cm2 = r.beta1, 1.0 - r.beta1
    else:
        cm1, cm2 = (r.momentum, 1.0) if _has_memory(r) else (0.0, 0.0)
    cg, cm = (1.0, r.momentum) if r.name == "nesterov" else (0.0, 1.0) if _has_memory(r) else (1.0, 0.0)
    if r.name not in _SECOND_MOMENT:
        return cm1, cm2, 0.0, 0.0, 0.0, 1.0, cg, cm, 0.0
    cv1, cv2 = (1.0, 1.0) if r.name == "adagrad" else (r.beta2, 1.0 - r.beta2)
    return cm1, cm2, cv1, cv2, 1.0, r.epsilon, cg, cm, float(_rms_momentum(r))
