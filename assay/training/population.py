"""Many nets of one architecture trained as one tensor program: CV folds, seeds and configurations alike.

All parameters lie in one (K, P) buffer, a row per member; every layer is a batched matrix product, the update is
elementwise work over whole rows (`optim`), and snapshots and early stopping are row copies.  Every member has its own
rows and columns (`feed`), optimizer, loss, dropout, schedules and patience.

A member whose table has no validation rows follows the others: its snapshot is of the epoch where the mean of their losses
was best, and it leaves with the last of them.

A member trained in a population gets, bit for bit on one machine's CPU, what it gets alone, as long as its table is as
wide as the population's widest: its row order and dropout depend on seed, epoch and step only, and no operation mixes
rows.  (A wider population pads with zero columns: the same numbers in exact arithmetic.)  On CPU this is worth a factor
2 to 4 for widths up to 128 and nothing from 256 on; on a GPU it is worth the size of the population.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from assay.errors import TrialStopped
from assay.nn.net import Dropout, Net
from assay.training.feed import Feed, Table
from assay.training.losses import ClassLoss, Loss, TargetLoss, class_loss, target_loss
from assay.training.optim import Rule, Update, paces
from assay.training.schedules import factors

State = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Member:
    """One net to train.  table: index into the tables.  patience, in epochs; clip: largest gradient norm."""

    table: int
    rule: Rule
    loss: Loss
    seed: int
    dropout: float = 0.0
    schedule: str = "constant"
    dropout_schedule: str = "constant"
    decay_schedule: str = "constant"
    patience: int = 1 << 30
    clip: float = math.inf


@dataclass(frozen=True)
class Plan:
    """What all members share.  n_classes: 0 for a numeric target.  seed: of the dropout."""

    epochs: int
    batch: int
    n_classes: int
    seed: int
    device: str = "cpu"
    threads: int = 1
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True, eq=False)
class Trained:
    """One member after training.

    params: of its best epoch (1-based), by name, as wide as its own table.  loss: validation log-loss or mean squared
    error there, infinite if it never was finite.  diverged: the loss became NaN or infinite.  state: all that is needed
    to go on (`train(..., resume=...)`).
    """

    params: dict[str, np.ndarray]
    loss: float
    epoch: int
    epochs: int
    diverged: bool
    state: dict[str, np.ndarray]


def train(
    net: Callable[[int], Net],
    tables: Sequence[Table],
    members: Sequence[Member],
    plan: Plan,
    on_epoch: Callable[[int, np.ndarray], None] = lambda epoch, losses: None,
    seconds_left: Callable[[], float] = lambda: math.inf,
    resume: Sequence[State] | None = None,
) -> list[Trained]:
    """Train all members and answer in their order.

    net: the architecture for a number of columns.  on_epoch(epoch, losses) gets the best validation loss so far of every
    member that has validation rows, NaN for one that diverged; it may raise TrialStopped, which ends training with the
    best snapshots.  Training also ends before `seconds_left` runs out, and shortens its schedules as soon as it sees that the time will not do.
    resume: states of an earlier call with the same tables; the result is that of one uninterrupted run.
    """
    torch.set_num_threads(plan.threads)
    population = _Population(net, tables, members, plan, resume)
    epochs, epoch = plan.epochs, population.epoch
    while epoch < epochs and len(population.ids):
        began = time.monotonic()
        in_time = population.run_epoch(epoch, epochs, seconds_left)
        population.evaluate(epoch + 1)
        epoch += 1
        took = time.monotonic() - began
        try:
            on_epoch(epoch, population.losses())
        except TrialStopped:
            break
        possible = seconds_left() / max(took, 1e-9) - 0.5  # half an epoch is kept in reserve
        if not in_time or possible < 1.0:
            break
        epochs = min(epochs, epoch + int(min(possible, 1e9)))
    return population.results()


class _Population:
    """The members still training (`ids`), their buffers, and what is kept of all members."""

    def __init__(
        self,
        net: Callable[[int], Net],
        tables: Sequence[Table],
        members: Sequence[Member],
        plan: Plan,
        resume: Sequence[State] | None,
    ) -> None:
        self.plan, self.all = plan, tuple(members)
        self.follows = np.array([len(tables[m.table].y_valid) == 0 for m in members])
        self.last_loss = np.full(len(members), np.inf)
        self.feed = Feed(tables, plan.n_classes, plan.batch, plan.device, plan.dtype)
        self.net, self.widths = net(self.feed.d), [t.x.shape[1] for t in tables]
        self.net_of = net
        self.lr_row, self.decay_row = (
            None if row is None else self._tensor(row[None])
            for row in (self.net.layout.row(self.net.lr_factors()), self.net.layout.row(self.net.decay_factors()))
        )
        self.loss: ClassLoss | TargetLoss
        if plan.n_classes:
            priors = np.stack([tables[m.table].prior(plan.n_classes) for m in members])
            self.loss = class_loss([m.loss for m in members], priors, plan.device, plan.dtype)
            self.low = self.high = torch.zeros(0)
        else:
            self.loss = target_loss([m.loss for m in members], plan.device, plan.dtype)
            self.low, self.high = (
                self._tensor(np.array([f(tables[m.table].y) for m in members])).view(-1, 1) for f in (np.min, np.max)
            )
        self.p, self.m, self.v, self.best = self._start(tables, resume)
        self.update = Update([m.rule for m in members], plan.device, plan.dtype, self.lr_row, self.decay_row)
        self.ids = list(range(len(members)))
        self.kept = (self.p.clone(), self.m.clone(), self.v.clone())
        self.eval_seconds = 0.0
        self.leaves = self._leaves()
        self._compact([bool(self.since[i] < members[i].patience and not self.diverged[i]) for i in self.ids])
        started = {int(self.epochs[i]) for i in self.ids}
        if len(started) > 1:
            raise ValueError(f"members that train on must have come equally far, got epochs {sorted(started)}")
        self.epoch = started.pop() if started else 0

    def run_epoch(self, epoch: int, epochs: int, seconds_left: Callable[[], float]) -> bool:
        """One pass over every member's rows.  False if time ran out on the way."""
        members = [self.all[i] for i in self.ids]
        tables = [m.table for m in members]
        orders = self.feed.orders(tables, [m.seed for m in members], epoch)
        n_steps, own = len(orders), np.array([self.feed.steps(t) for t in tables])
        progress = (epoch + np.minimum(np.arange(n_steps)[:, None] / own[None, :], 1.0)) / epochs  # (S, K)
        lr = _along(progress, [m.schedule for m in members])
        decay = _along(progress, [m.decay_schedule for m in members])
        drop = _along(progress, [m.dropout_schedule for m in members])
        pace = paces([m.rule for m in members], self.steps[self.ids], lr, decay, self.plan.device, self.plan.dtype)
        rates = _shared(drop * np.array([m.dropout for m in members]))
        seeds = np.random.default_rng([self.plan.seed, epoch]).integers(1 << 62, size=n_steps)
        any_drop = any(m.dropout > 0 for m in members)
        generator = torch.Generator(self.plan.device)
        clip = self._tensor(np.array([[m.clip] for m in members])) if any(m.clip < math.inf for m in members) else None
        for s in range(n_steps):
            rate = self._tensor(rates[s], torch.float32).view(-1, 1, 1)
            dropout = Dropout(rate, generator.manual_seed(int(seeds[s]))) if any_drop else None
            grad = self._gradient(orders[s], dropout)
            if clip is not None:
                grad.mul_((clip / (torch.linalg.vector_norm(grad, dim=1, keepdim=True) + 1e-6)).clamp_(max=1.0))
            idle = np.flatnonzero(s >= own)
            saved = [b[idle] for b in (self.p, self.m, self.v)] if len(idle) else []
            self.update.apply(self.p, grad, self.m, self.v, pace[s])
            for buffer, rows in zip((self.p, self.m, self.v), saved, strict=False):
                buffer[idle] = rows
            if seconds_left() < 2.0 * self.eval_seconds:
                self.steps[self.ids] += np.minimum(own, s + 1)
                return False
        self.steps[self.ids] += own
        return True

    def evaluate(self, epoch: int) -> None:
        """Validation losses; better rows become snapshots; the finished and the diverged leave."""
        began = time.monotonic()
        losses = self._validation_losses().double().cpu().numpy()
        self.eval_seconds = time.monotonic() - began
        ids = np.array(self.ids)
        led = ~self.follows[ids]
        self.last_loss[ids[led]] = losses[led]
        if not led.all():
            led_to = self.last_loss[~self.follows].mean() if (~self.follows).any() else -float(epoch)
            sound = torch.isfinite(self.p).all(1).cpu().numpy()[~led]
            losses[~led] = np.where(sound, led_to, np.nan)
        finite = np.isfinite(losses)
        better = finite & (losses < self.best_loss[ids])
        rows = np.flatnonzero(better)
        self.best[ids[rows]] = self.p[rows]
        self.best_loss[ids[rows]] = losses[rows]
        self.best_epoch[ids[rows]] = epoch
        self.since[ids] = np.where(better, 0, self.since[ids] + 1)
        self.epochs[ids] = epoch
        self.diverged[ids] = ~finite
        patience = np.array([self.all[i].patience for i in self.ids])
        stays = finite & np.where(led, self.since[ids] < patience, True)
        if (~self.follows).any() and not (stays & led).any():
            stays[:] = False
        self._compact(list(stays))

    def losses(self) -> np.ndarray:
        """Best validation loss of every member with validation rows so far, NaN where it diverged."""
        return np.asarray(np.where(self.diverged, np.nan, self.best_loss)[~self.follows])

    def results(self) -> list[Trained]:
        self._keep(self.ids, torch.arange(len(self.ids)))
        best, p, m, v = (b.cpu().numpy() for b in (self.best, *self.kept))
        found = []
        for i, member in enumerate(self.all):
            narrow = self.net_of(self.widths[member.table]).layout
            rows = {"best": best[i], "now": p[i], "m": m[i], "v": v[i]}
            parts = {part: self.net.layout.unpack(row, narrow) for part, row in rows.items()}
            state = {f"{part}/{name}": a for part, arrays in parts.items() for name, a in arrays.items()}
            state["loss"] = np.array(self.best_loss[i])
            state["progress"] = np.array(
                [self.epochs[i], self.steps[i], self.best_epoch[i], self.since[i], self.diverged[i]], dtype=np.int64
            )
            found.append(
                Trained(
                    parts["best"],
                    float(self.best_loss[i]),
                    int(self.best_epoch[i]),
                    int(self.epochs[i]),
                    bool(self.diverged[i]),
                    state,
                )
            )
        return found

    def _start(self, tables: Sequence[Table], resume: Sequence[State] | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Fresh or resumed p, m, v and best snapshots, all (K, P), and the counters."""
        k, layout = len(self.all), self.net.layout
        self.best_loss = np.full(k, np.inf)
        self.epochs, self.steps, self.best_epoch, self.since = (np.zeros(k, dtype=np.int64) for _ in range(4))
        self.diverged = np.zeros(k, dtype=bool)
        if resume is None:
            rows = [
                layout.pack(self.net.init(np.random.default_rng([m.seed, 0x1417]), tables[m.table].x)) for m in self.all
            ]
            p = self._tensor(np.stack(rows))
            return p, torch.zeros_like(p), torch.zeros_like(p), p.clone()
        if len(resume) != k:
            raise ValueError(f"{len(resume)} states for {k} members")
        for i, state in enumerate(resume):
            self.epochs[i], self.steps[i], self.best_epoch[i], self.since[i], diverged = state["progress"]
            self.diverged[i] = bool(diverged)
            self.best_loss[i] = float(state["loss"])

        def part(head: str) -> Tensor:
            named = [{n.removeprefix(head): a for n, a in state.items() if n.startswith(head)} for state in resume]
            return self._tensor(np.stack([layout.pack(arrays) for arrays in named]))

        return part("now/"), part("m/"), part("v/"), part("best/")

    def _gradient(self, index: Tensor, dropout: Dropout | None) -> Tensor:
        """Gradient of every member's own mean loss, (K, P): the losses are summed, and a member knows its own only."""
        x, y, weight = self.feed.rows(index)
        rows = self.loss.rows(self.net.forward(self.leaves, x, dropout), y)
        total = (rows if weight is None else rows * weight).mean(1).sum()
        grads = torch.autograd.grad(total, list(self.leaves.values()))
        return torch.cat([g.flatten(1) for g in grads], dim=1)

    @torch.no_grad()
    def _validation_losses(self) -> Tensor:
        """Log-loss of the mean probabilities, or squared error of the mean answer within the targets' range, (K,)."""
        tables = torch.tensor([self.all[i].table for i in self.ids], device=self.plan.device)
        total = torch.zeros(len(self.ids), device=self.plan.device, dtype=self.plan.dtype)
        for x, y, share in self.feed.validation(tables):
            answer = self.net.forward(self.leaves, x, None)  # (K, b, E, c)
            if self.plan.n_classes:
                log_p = torch.log_softmax(answer, dim=-1)
                e = log_p.shape[2]
                log_p = log_p.squeeze(2) if e == 1 else torch.logsumexp(log_p, dim=2) - math.log(e)
                rows = -log_p.gather(-1, y.unsqueeze(-1)).squeeze(-1)
            else:
                mean = answer.squeeze(-1).mean(2)
                # minimum and maximum, unlike clamp, pass NaN on, which is how divergence shows
                rows = (torch.maximum(torch.minimum(mean, self.high), self.low) - y) ** 2
            total += (rows * share).sum(1)
        return total

    def _compact(self, stays: Sequence[bool]) -> None:
        """Drop members from the running buffers; what is needed to go on with them later is kept."""
        if all(stays):
            return
        gone = [k for k, s in enumerate(stays) if not s]
        self._keep([self.ids[k] for k in gone], torch.tensor(gone))
        keep = torch.tensor([k for k, s in enumerate(stays) if s], dtype=torch.int64, device=self.plan.device)
        self.ids = [self.ids[k] for k in keep.tolist()]
        self.p, self.m, self.v = self.p[keep], self.m[keep], self.v[keep]
        self.loss = self.loss.take(keep)
        if not self.plan.n_classes:
            self.low, self.high = self.low[keep], self.high[keep]
        if self.ids:
            self.update = self.update.take(keep, self.plan.device, self.plan.dtype)
        self.leaves = self._leaves()

    def _keep(self, ids: list[int], rows: Tensor) -> None:
        for kept, buffer in zip(self.kept, (self.p, self.m, self.v), strict=True):
            kept[ids] = buffer[rows.to(buffer.device)]

    def _leaves(self) -> dict[str, Tensor]:
        """The parameters by name as autograd leaves that share the buffer's memory."""
        return {name: view.detach().requires_grad_() for name, view in self.net.layout.views(self.p).items()}

    def _tensor(self, a: np.ndarray, dtype: torch.dtype | None = None) -> Tensor:
        return torch.as_tensor(a, device=self.plan.device, dtype=dtype or self.plan.dtype)


def _along(progress: np.ndarray, schedules: Sequence[str]) -> np.ndarray:
    """progress: (S, K) -> the factors of every member's own schedule, (S, K)."""
    return np.stack([factors(name, progress[:, k]) for k, name in enumerate(schedules)], axis=1)


def _shared(rates: np.ndarray) -> np.ndarray:
    """rates: (S, K) -> (S, 1) when all members agree: one dropout mask then serves all of them, to the same bits."""
    return rates[:, :1] if (rates == rates[:, :1]).all() else rates
