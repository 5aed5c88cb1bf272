"""Training a net on pictures, in the time there is: the schedule follows steps or the clock, whichever is ahead."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.errors import Diverged, TrialStopped
from assay.families import Split, TrialContext
from assay.training.images.augment import Augment, augmented
from assay.training.optim import Rule, torch_optimizer
from assay.training.schedules import factors

EMA = 0.99  # of the averaged weights, a step; less in the first steps
RESERVE = 0.08  # of the time left, for predictions and the checkpoint
SHORT = 100.0  # seconds: with less than this left a fit may take nearly all of them, otherwise SHARE
SHARE = 0.4
REPORTS = 12  # validations of one fit, at most
JUDGING = 6.0  # times what a validation takes must be trained between two of them
AFTER = 2.0  # validations' worth of time kept for what follows the last step


@dataclass(frozen=True)
class Plan:
    """head_rate: of the last layer as a multiple; layer_decay: of the learning rate from block to block towards the input
    (1 for nets from scratch).  warmup: share of training during which the rate rises."""

    rule: Rule
    batch: int
    epochs: int
    augment: Augment
    smoothing: float = 0.0
    schedule: str = "one_cycle"
    clip: float = 5.0
    layer_decay: float = 1.0


def fit_net(net: nn.Module, data: Split, plan: Plan, ctx: TrialContext, score: Callable[[np.ndarray], float]) -> None:
    """Train in place on data.x, uint8 (n, side, side, 3); leaves averaged weights in evaluation mode.

    net: its last layer is `head`.

    On a GPU: channels-last, bfloat16, compiled.  Reports `score` of the validation probabilities at most once an epoch.
    Ends when the planned epochs are done, or a share of the time that is left; the schedule is at its end then either way.
    Raises Diverged.
    """
    began = time.monotonic()
    device, on_gpu = _device(ctx)
    torch.set_num_threads(ctx.threads)
    torch.manual_seed(ctx.seed)
    rng = torch.Generator().manual_seed(ctx.seed)
    net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.from_numpy(np.ascontiguousarray(data.x))
    x = x.to(device) if on_gpu else x
    targets = F.one_hot(torch.from_numpy(data.y), data.target.n_classes).float().to(device)
    share = None if data.weight is None else torch.from_numpy(data.weight.astype(np.float32)).to(device)
    n = len(x)
    batch = max(2, min(plan.batch, max(24, n // 8), n))
    per_epoch = max(1, n // batch)
    epochs = max(1, min(plan.epochs, ctx.max_steps))
    total, left = epochs * per_epoch, ctx.seconds_left()
    judged, quickest = 0.0, float("inf")  # seconds of a validation, as far as is known, and of a step
    optimizer = torch_optimizer(plan.rule, groups(net, plan))  # type: ignore[arg-type]
    rates = [float(g["lr"]) for g in optimizer.param_groups]
    average = _copied(net)
    run = torch.compile(net) if on_gpu else net
    done, epoch, told = 0, 0, 0.0
    while True:
        net.train()
        order = torch.randperm(n, generator=rng)
        for i in range(per_epoch):
            started = time.monotonic()
            budget = min(_budget(left), max(0.3 * left, left - AFTER * judged))
            progress = max(done / total, (started - began) / budget)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * float(factors(plan.schedule, np.array(min(1.0, progress))))
            rows = order[i * batch : (i + 1) * batch]
            rows = rows.to(device) if on_gpu else rows
            pixels = x[rows].to(device).permute(0, 3, 1, 2).float()
            mixed, y = augmented(pixels, targets[rows], plan.augment, rng)
            with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu):
                logits = run(mixed.contiguous(memory_format=torch.channels_last))
            losses = F.cross_entropy(logits.float(), y, reduction="none", label_smoothing=plan.smoothing)
            loss = (losses if share is None else losses * share[rows]).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(net.parameters(), plan.clip)
            if not bool(torch.isfinite(norm)):
                raise _diverged(plan, epoch + 1)
            optimizer.step()
            done += 1
            _follow(average, net, min(EMA, done / (done + 9)))
            quickest = min(quickest, time.monotonic() - started)
            if told == 0.0:  # nothing was judged yet: forward alone takes about a third of a step
                judged = 0.4 * len(data.x_valid) / batch * quickest
            if time.monotonic() - began >= budget:
                break
        epoch += 1
        over = done >= total or time.monotonic() - began >= budget
        gap = max(1.0 / REPORTS, JUDGING * judged / budget)
        if over or progress - told >= gap or (epoch == 1 and gap < 0.5):
            told, before = progress, time.monotonic()
            kept = _swapped(net, average)
            value = score(predict(net, data.x_valid, device))
            judged = time.monotonic() - before
            if not np.isfinite(value):
                raise _diverged(plan, epoch)
            try:
                ctx.report(epoch, value)
            except TrialStopped:
                break
            if over:
                break
            _swapped(net, kept)
    net.eval()
    _sharpen(net, data, device)


@torch.no_grad()
def _sharpen(net: nn.Module, data: Split, device: torch.device) -> None:
    """Undo in the last layer what smoothed targets and an early end cost in certainty, as the validation part has it."""
    from assay.model.calibrate import likely_temperature

    last: nn.Linear = net.head  # type: ignore[assignment]
    t = likely_temperature(data.y_valid, predict(net, data.x_valid, device).astype(np.float64), data.weight_valid)
    last.weight.div_(t)
    last.bias.div_(t)


def predict(net: nn.Module, x: np.ndarray, device: torch.device | None = None, batch: int = 64) -> np.ndarray:
    """Class probabilities, float32 (n, classes), in evaluation mode and full precision."""
    at = device or next(net.parameters()).device
    was = net.training
    net.eval()
    parts = []
    with torch.inference_mode():
        for i in range(0, max(1, len(x)), batch):
            rows = torch.from_numpy(np.ascontiguousarray(x[i : i + batch])).to(at).permute(0, 3, 1, 2).float()
            parts.append(torch.softmax(net(rows.contiguous(memory_format=torch.channels_last)), 1).cpu().numpy())
    net.train(was)
    return np.concatenate(parts)


def groups(net: nn.Module, plan: Plan) -> list[dict[str, object]]:
    """Parameters by learning rate and decay: none on norms and biases; lower rates towards the input if asked."""
    depth = getattr(net, "depth_of", None)
    found: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            level = depth(name) if depth is not None else 0
            found.setdefault((plan.layer_decay**level, parameter.dim() > 1), []).append(parameter)
    return [
        {"params": p, "lr": plan.rule.learning_rate * factor, "weight_decay": plan.rule.weight_decay if decays else 0.0}
        for (factor, decays), p in found.items()
    ]


def _budget(left: float) -> float:
    """Seconds that this fit may train."""
    if left == float("inf"):
        return left
    left = max(0.5, left * (1 - RESERVE) - 0.5)
    return left if left < SHORT else max(SHORT, SHARE * left)


def _device(ctx: TrialContext) -> tuple[torch.device, bool]:
    device = torch.device(ctx.device if ctx.device == "cpu" or torch.cuda.is_available() else "cpu")
    return device, device.type == "cuda"


def _copied(net: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in net.state_dict().items()}


def _swapped(net: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put a state in; returns the one that was there."""
    before = _copied(net)
    net.load_state_dict(state)
    return before


@torch.no_grad()
def _follow(average: dict[str, Tensor], net: nn.Module, keep: float) -> None:
    """average <- keep * average + (1 - keep) * net; counters as they are."""
    floats = [(average[k], v) for k, v in net.state_dict().items() if v.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in floats], [v for _, v in floats], 1.0 - keep)


def _diverged(plan: Plan, epoch: int) -> Diverged:
    return Diverged(
        f"training became NaN or infinite in epoch {epoch} with optimizer {plan.rule.name!r} and learning rate "
        f"{plan.rule.learning_rate:.3g}; a smaller learning rate is the usual cure"
    )
