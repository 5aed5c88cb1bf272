"""A population member gets what it gets alone, and what plain torch gives it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from assay.errors import TrialStopped
from assay.nn.dense import Dense
from assay.training.feed import Feed, Table, batch_size
from assay.training.losses import Loss
from assay.training.optim import OPTIMIZERS, Rule, torch_optimizer
from assay.training.population import Member, Plan, Trained, _Population, train
from assay.training.schedules import factors

RULES = [
    Rule("sgd", 0.1, weight_decay=1e-3),
    Rule("momentum", 0.05, momentum=0.8),
    Rule("nesterov", 0.05, momentum=0.9, weight_decay=1e-3),
    Rule("adam", 3e-3, beta2=0.99, weight_decay=1e-3),
    Rule("adamw", 3e-3, weight_decay=0.1),
    Rule("adagrad", 0.02, weight_decay=1e-3),
    Rule("rmsprop", 1e-3, beta2=0.9, momentum=0.0),
    Rule("rmsprop", 1e-3, beta2=0.9, momentum=0.7, weight_decay=1e-3),
]


def make_table(n: int, d: int, seed: int, weighted: bool = False, n_valid: int = 50) -> Table:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n + n_valid, d)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(np.int64) + (x[:, 2] > 1)
    w = rng.uniform(0.5, 2.0, n) if weighted else None
    return Table(x[:n], y[:n], x[n:], y[n:], w)


def numeric(table: Table) -> Table:
    y, y_valid = (x[:, 0] + np.sin(2 * x[:, 1]) for x in (table.x.astype(float), table.x_valid.astype(float)))
    return dataclasses.replace(table, y=y, y_valid=y_valid)


def net(d: int) -> Dense:
    return Dense(d, 3, 16, 2, "silu")


def members_of(tables: int) -> list[Member]:
    losses = [Loss("cross_entropy"), Loss("label_smoothing", 0.1), Loss("kl", 0.1)]
    schedules = ["constant", "cosine", "one_cycle", "coslog4"]
    return [
        Member(i % tables, rule, losses[i % 3], seed=i, dropout=0.1 * (i % 3), schedule=schedules[i % 4], patience=3)
        for i, rule in enumerate(RULES)
    ]


def same(a: Trained, b: Trained) -> bool:
    return (a.loss, a.epoch, a.epochs) == (b.loss, b.epoch, b.epochs) and all(
        np.array_equal(a.state[name], b.state[name]) for name in a.state
    )


def test_a_member_alone_is_bit_for_bit_the_member_in_a_population_with_mixed_optimizers_and_uneven_folds() -> None:
    tables = [make_table(130, 6, 0), make_table(128, 6, 1, weighted=True), make_table(97, 6, 2, n_valid=41)]
    members, plan = members_of(3), Plan(epochs=60, batch=32, n_classes=3, seed=5)
    together = train(net, tables, members, plan)
    assert len({t.epochs for t in together}) > 1, "stop at different epochs, or this test says little"
    for member, got in zip(members, together, strict=True):
        alone = train(net, [tables[member.table]], [dataclasses.replace(member, table=0)], plan)[0]
        assert same(alone, got), member.rule.name


def test_members_for_a_numeric_target_mix_squared_and_huber_loss_bit_for_bit() -> None:
    tables = [numeric(make_table(100, 5, 0)), numeric(make_table(99, 5, 1))]
    members = [Member(0, RULES[4], Loss("mse"), 1), Member(1, RULES[3], Loss("huber", delta=0.5), 2, dropout=0.2)]
    plan = Plan(epochs=40, batch=32, n_classes=0, seed=5)

    def one(d: int) -> Dense:
        return Dense(d, 1, 16, 1, "relu")

    together = train(one, tables, members, plan)
    for i, got in enumerate(together):
        assert same(train(one, [tables[i]], [dataclasses.replace(members[i], table=0)], plan)[0], got)
        assert got.loss < 0.9 * float(np.var(tables[i].y_valid))


def plain(table: Table, member: Member, plan: Plan, k: int, width: int) -> np.ndarray:
    """The same training with nn.Linear, torch.optim and torch's losses; logits of the validation rows after it."""
    start = net(width).init(np.random.default_rng([member.seed, 0x1417]), table.x)
    layers = [torch.nn.Linear(*start[f"weight{i}"].shape).to(plan.dtype) for i in range(3)]
    for i, layer in enumerate(layers):
        layer.weight.data = torch.tensor(start[f"weight{i}"].T.copy(), dtype=plan.dtype)
        layer.bias.data = torch.tensor(start[f"bias{i}"][0], dtype=plan.dtype)
    model = torch.nn.Sequential(layers[0], torch.nn.SiLU(), layers[1], torch.nn.SiLU(), layers[2])
    optimizer = torch_optimizer(member.rule, model.parameters())
    feed = Feed([table], k, plan.batch, "cpu", plan.dtype)
    prior = torch.tensor(table.prior(k), dtype=plan.dtype)
    for epoch in range(plan.epochs):
        orders = feed.orders([0], [member.seed], epoch)
        for s, order in enumerate(orders):
            x, y, _ = feed.rows(order)
            lr = factors(member.schedule, np.array([(epoch + s / len(orders)) / plan.epochs]))[0]
            optimizer.param_groups[0]["lr"] = member.rule.learning_rate * lr
            logits = model(x[0])
            if member.loss.name == "kl":
                q = (1 - member.loss.smoothing) * F.one_hot(y[0], k).to(plan.dtype) + member.loss.smoothing * prior
                loss = F.kl_div(torch.log_softmax(logits, 1), q, reduction="batchmean")
            else:
                loss = F.cross_entropy(logits, y[0], label_smoothing=member.loss.smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return model(torch.tensor(table.x_valid, dtype=plan.dtype)).numpy()


# float32 forks where tiny gradients are divided by tiny deviations, so it only gets a few steps and a wider margin
@pytest.mark.parametrize(("dtype", "epochs", "margin"), [(torch.float64, 8, 1e-10), (torch.float32, 2, 1e-5)])
def test_a_population_trains_as_torch_does_with_every_optimizer_loss_and_schedule(
    dtype: torch.dtype, epochs: int, margin: float
) -> None:
    assert {r.name for r in RULES} == set(OPTIMIZERS)
    tables = [make_table(100, 6, 0), make_table(101, 8, 1)]  # two widths: the narrow one is padded with a zero column
    members = [dataclasses.replace(m, dropout=0.0, patience=1 << 30) for m in members_of(2)]
    plan = Plan(epochs=epochs, batch=32, n_classes=3, seed=5, dtype=dtype)
    for member, got in zip(members, train(net, tables, members, plan), strict=True):
        table = tables[member.table]
        d = table.x.shape[1]
        last = {n.removeprefix("now/"): torch.tensor(a)[None] for n, a in got.state.items() if n.startswith("now/")}
        assert last["weight0"].shape == (1, d, 16)
        logits = net(d).forward(last, torch.tensor(table.x_valid, dtype=dtype)[None], None)[0, :, 0].numpy()
        assert np.abs(logits - plain(table, member, plan, 3, d)).max() < margin, member.rule


def test_padding_stays_zero_even_in_the_optimizer_buffers() -> None:
    tables = [make_table(64, 4, 0), make_table(64, 9, 1)]
    members = [Member(i == len(RULES), rule, Loss("cross_entropy"), 1) for i, rule in enumerate([*RULES, RULES[0]])]
    population = _Population(net, tables, members, Plan(3, 16, 3, 0), None)
    population.run_epoch(0, 3, lambda: math.inf)
    weights = net(9).layout.views(population.p)["weight0"]
    assert float(weights[:-1, 4:].abs().max()) == 0.0
    assert float(weights[-1, 4:].abs().max()) > 0.0


def test_training_that_goes_on_from_a_state_ends_as_training_without_a_break() -> None:
    tables = [make_table(90, 5, 0), make_table(91, 5, 1)]
    entropy = Loss("cross_entropy")
    members = [Member(0, RULES[4], entropy, 1, dropout=0.2), Member(1, RULES[2], entropy, 2)]
    plan = Plan(epochs=8, batch=32, n_classes=3, seed=3)
    whole = train(net, tables, members, plan)

    def stop(epoch: int, losses: np.ndarray) -> None:
        if epoch == 3:
            raise TrialStopped

    part = train(net, tables, members, plan, stop)
    assert [t.epochs for t in part] == [3, 3]
    resumed = train(net, tables, members, plan, resume=[t.state for t in part])
    assert all(same(a, b) for a, b in zip(whole, resumed, strict=True))


def test_every_row_of_a_member_comes_up_in_an_epoch_and_no_other_row_does() -> None:
    tables = [make_table(100, 3, 0), make_table(70, 3, 1)]
    feed = Feed(tables, 3, 32, "cpu", torch.float32)
    orders = feed.orders([0, 1], [1, 2], epoch=0)
    assert orders.shape == (4, 2, 32)
    assert set(orders[:, 0].flatten().tolist()) == set(range(100))
    assert set(orders[: feed.steps(1), 1].flatten().tolist()) == set(range(100, 170))
    assert not torch.equal(orders, feed.orders([0, 1], [1, 2], epoch=1))


def test_folds_that_differ_by_a_row_get_the_same_batch_size() -> None:
    assert [batch_size(128, n) for n in (1, 12, 127, 128, 255, 256, 5000)] == [1, 8, 8, 16, 16, 32, 128]


def test_a_member_that_diverges_is_marked_and_the_others_train_on() -> None:
    table = make_table(100, 5, 0)
    wild = Member(0, Rule("sgd", 1e30), Loss("cross_entropy"), 1)
    calm = Member(0, RULES[4], Loss("cross_entropy"), 2)
    seen = []
    plan = Plan(epochs=6, batch=32, n_classes=3, seed=0)
    got = train(net, [table], [wild, calm], plan, lambda epoch, losses: seen.append(losses.copy()))
    assert got[0].diverged and got[0].epochs < 6
    assert not got[1].diverged and got[1].epochs == 6
    assert np.isnan(seen[-1][0]) and np.isfinite(seen[-1][1])


def test_a_finite_deadline_ends_training_with_a_usable_snapshot() -> None:
    table = make_table(200, 5, 0)
    left = iter([10.0] * 3 + [0.0] * 1000)
    member = Member(0, RULES[4], Loss("cross_entropy"), 1)
    got = train(net, [table], [member], Plan(500, 32, 3, 0), seconds_left=lambda: next(left))[0]
    assert got.epochs == 1 and math.isfinite(got.loss) and got.epoch == 1


def test_sample_weights_decide_between_contradicting_rows() -> None:
    x = np.repeat(np.array([[1.0], [-1.0]], dtype=np.float32), 64, axis=0)
    y = np.tile([0, 1], 64)
    heavy_one = np.where(y == 1, 9.0, 1.0)
    table = Table(x, y, x, y, heavy_one, heavy_one)
    member = Member(0, Rule("adamw", 1e-2), Loss("cross_entropy"), 0)
    got = train(lambda d: Dense(d, 2, 8, 1, "relu"), [table], [member], Plan(40, 32, 2, 0))[0]
    best = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))  # the answer that weights ask for: 90 % class 1
    assert got.loss == pytest.approx(best, abs=5e-3)


def test_a_clipped_gradient_never_moves_sgd_further_than_its_length() -> None:
    table = numeric(make_table(64, 4, 0))
    table = dataclasses.replace(table, y=table.y * 1000.0)

    def one(d: int) -> Dense:
        return Dense(d, 1, 8, 1, "relu")

    member = Member(0, Rule("sgd", 0.1), Loss("mse"), 1, clip=1.0)
    got = train(one, [table], [member], Plan(epochs=1, batch=64, n_classes=0, seed=0))[0]
    start = one(4).init(np.random.default_rng([1, 0x1417]), table.x)
    moved = math.sqrt(sum(((got.state[f"now/{n}"] - a) ** 2).sum() for n, a in start.items()))
    assert 0.09 < moved <= 0.1001


def test_a_member_without_validation_rows_keeps_the_epoch_where_the_others_mean_was_best() -> None:
    led = [make_table(160, 6, seed) for seed in (1, 2)]
    whole = make_table(320, 6, 3, n_valid=0)
    members = [dataclasses.replace(m, table=i, patience=4) for i, m in enumerate(members_of(3)[:3])]
    means: list[float] = []
    plan = Plan(30, 32, 3, 0)
    trained = train(net, [*led, whole], members, plan, lambda epoch, losses: means.append(float(losses.mean())))
    assert trained[2].epochs == max(t.epochs for t in trained[:2])
    assert 0 < trained[2].epoch <= trained[2].epochs and not trained[2].diverged
    assert len(means) == trained[2].epochs
    alone = train(
        net, [whole], [dataclasses.replace(members[2], table=0)], dataclasses.replace(plan, epochs=trained[2].epoch)
    )
    assert alone[0].epoch == alone[0].epochs == trained[2].epoch, "alone it keeps its last epoch"
