"""The store in memory and the store of rows do the same, whatever happens and in whatever order."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine

from app.store import SqlStore
from app.store_sql.jobs import Turn
from assay.search.lifecycle import VERBS, JobStatus
from assay.search.plan import BuildModel, JobSnapshot, Limits, StartTrials, plan
from assay.search.store import Ahead, Claim, Decided, InMemoryStore, Outcome, Started, ended
from assay.search.trial import Proposal, Report, TrialStatus
from tests.app.conftest import Hands
from tests.app.test_store import check, new_job

STEPS = 120
OUTCOMES = (
    Outcome(TrialStatus.COMPLETED, score=0.5, score_std=0.1, fold_scores=(0.4, 0.6), seconds=1.0),
    Outcome(TrialStatus.COMPLETED, score=0.7, curve=(Report(1, 0.7),), seconds=2.0),
    Outcome(TrialStatus.STOPPED, seconds=0.5),
    Outcome(TrialStatus.FAILED, error={"code": "diverged", "message": "NaN"}),
)


class Twins:
    """Every call goes to both stores; what they answer must be equal, a claim apart from its token."""

    def __init__(self, engine: Engine, clock: Hands, rng: random.Random) -> None:
        self.rng = rng
        self.clock = clock
        self.engine = engine
        self.memory = InMemoryStore(lambda: clock.now.timestamp())
        self.rows = [SqlStore(engine, clock), SqlStore(engine, clock)]  # two processes, taking turns
        self.rows[0].beat("w", lane="cpu", slots=3, busy=0, devices=[], version="1")
        self.jobs: dict[str, str] = {}  # name in rows -> name in memory
        self.turns = 0  # that went on with the same job
        self.claims: list[tuple[Claim, Claim]] = []  # every claim ever given: stale ones are tried again

    def sql(self) -> SqlStore:
        return self.rng.choice(self.rows)

    def add(self) -> None:
        limits = Limits(time_seconds=None, trials=40, concurrent_trials=3)
        job = new_job(self.sql(), limits=limits)
        name = f"j{len(self.jobs)}"
        snapshot = self.sql().snapshot(job)
        self.memory.add(replace(snapshot, id=name, revision=0))
        self.jobs[job] = name

    def both(self, call: Callable[[Any, bool], Any]) -> Any:
        answers = []
        for store, in_memory in ((self.sql(), False), (self.memory, True)):
            try:
                answers.append(call(store, in_memory))
            except ValueError as error:
                answers.append(str(error))
        assert answers[0] == answers[1]
        return answers[0]

    def on_job(self, job: str, call: Callable[[Any, str], Any]) -> Any:
        return self.both(lambda store, in_memory: call(store, self.jobs[job] if in_memory else job))

    def on_claim(self, claims: tuple[Claim, Claim], call: Callable[[Any, Claim], Any]) -> Any:
        return self.both(lambda store, in_memory: call(store, claims[in_memory]))

    def claim(self) -> None:
        ours, theirs = self.sql().claim("w", "cpu", 0), self.memory.claim("w", "cpu", 0)
        if ours is None or theirs is None:
            assert ours is theirs is None
            return
        assert (ours.kind, self.jobs[ours.ref], ours.number) == (theirs.kind, theirs.ref, theirs.number)
        assert {k: ours.payload[k] for k in theirs.payload} == dict(theirs.payload)
        self.claims.append((ours, theirs))

    def advance(self, job: str) -> None:
        """What a worker does: plan, and apply what was decided."""
        ours, theirs = self.sql().snapshot(job), self.memory.snapshot(self.jobs[job])
        decided = self.decisions(ours)
        assert self.sql().apply(job, ours.revision, decided)
        assert self.memory.apply(self.jobs[job], theirs.revision, decided)
        assert not self.sql().apply(job, ours.revision, decided)

    def decisions(self, snapshot: JobSnapshot) -> tuple[Decided, ...]:
        decided: list[Decided] = []
        for action in plan(snapshot):
            if isinstance(action, StartTrials):
                n = 0 if self.rng.random() < 0.05 else action.n
                proposals = tuple(Proposal("x", {"a": 0.5}, "why") for _ in range(n))
                decided.append(Started(proposals, "random", (3,) * n))
            else:
                decided.append(action)
        return tuple(decided)

    def turn(self, claims: tuple[Claim, Claim], outcome: Outcome) -> None:
        """A trial's end, what follows and the next claim in one stroke here, one after the other there."""
        ours, theirs = claims
        snapshot = self.sql().snapshot(ours.ref)
        trials = tuple(ended(t, outcome) if t.number == ours.number else t for t in snapshot.trials)
        decisions = self.decisions(replace(snapshot, trials=trials))
        stale = Ahead(snapshot.revision - 1, decisions, None, False)
        lost = Turn(False)
        assert self.sql().turn(ours, outcome, None, stale) in (None, lost)
        turn = self.sql().turn(ours, outcome, None, replace(stale, revision=snapshot.revision))
        assert turn is not None
        assert turn.written == self.memory.finish(theirs, outcome)
        if not turn.written:
            assert turn == lost
            return
        name = self.jobs[ours.ref]
        assert self.memory.apply(name, self.memory.snapshot(name).revision, decisions)
        if turn.claim is not None:
            next_one = self.memory.claim("w", "cpu", 0)
            assert next_one is not None
            assert (next_one.kind, next_one.ref, next_one.number) == ("trial", name, turn.claim.number)
            assert {k: turn.claim.payload[k] for k in next_one.payload} == dict(next_one.payload)
            self.claims.append((turn.claim, next_one))
            self.turns += 1

    def compare(self) -> None:
        for job, name in self.jobs.items():
            expected = comparable(self.memory.snapshot(name))
            for store in self.rows:
                found = store.snapshot(job)
                assert found.elapsed == pytest.approx(self.memory.snapshot(name).elapsed, abs=1e-3)
                assert comparable(found) == expected


def comparable(snapshot: JobSnapshot) -> JobSnapshot:
    return replace(snapshot, id="", revision=0, elapsed=0.0, slots=1)


def step(twins: Twins) -> None:
    rng = twins.rng
    job = rng.choice(list(twins.jobs))
    what = rng.random()
    if what < 0.30:
        twins.advance(job)
    elif what < 0.50:
        twins.claim()
    elif what < 0.53:
        chosen = rng.choice(sorted(VERBS))
        twins.on_job(job, lambda s, j: s.request(j, chosen))
    elif what < 0.58:
        twins.clock.turn(rng.choice([1.0, 1.0, 5.0, 31.0]))
        twins.rows[0].beat("w", lane="cpu", slots=3, busy=0, devices=[], version="1")
        ours, theirs = twins.sql().reap(), twins.memory.reap()
        assert {twins.jobs[j] for j in ours} == set(theirs)
    elif what < 0.60:
        twins.on_job(job, lambda s, j: s.reopen(j, Limits(time_seconds=None, trials=80, concurrent_trials=3)))
    elif what < 0.61:
        decisions = [BuildModel(False)] if twins.sql().snapshot(job).status is JobStatus.RUNNING else []
        assert twins.sql().apply(job, twins.sql().snapshot(job).revision, decisions)
        name = twins.jobs[job]
        assert twins.memory.apply(name, twins.memory.snapshot(name).revision, decisions)
    elif twins.claims:
        claims = rng.choice(twins.claims[-4:])
        twins.clock.turn(0.25)
        work(twins, claims)


def work(twins: Twins, claims: tuple[Claim, Claim]) -> None:
    rng = twins.rng
    what = rng.random()
    if what < 0.2:
        twins.on_claim(claims, lambda s, c: s.renew(c))
    elif what < 0.3:
        twins.on_claim(claims, lambda s, c: s.release(c))
    elif claims[0].kind == "build":
        error = None if rng.random() < 0.7 else {"code": "internal", "message": "no"}
        model = "mdl" if error is None else None
        twins.on_claim(claims, lambda s, c: s.finish_build(c, model, 1.5, error))
    elif what < 0.5:
        report = Report(rng.randint(1, 9), rng.random())
        twins.on_claim(claims, lambda s, c: s.report(c, report))
    elif what < 0.75:
        outcome = rng.choice(OUTCOMES)
        twins.on_claim(claims, lambda s, c: s.finish(c, outcome))
    else:
        twins.turn(claims, rng.choice(OUTCOMES))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_both_stores_say_the_same(seed: int, engine: Engine, clock: Hands) -> None:
    twins = Twins(engine, clock, random.Random(seed))
    for _ in range(2):
        twins.add()
    for _ in range(STEPS):
        step(twins)
        twins.compare()
    for job in twins.jobs:
        check(engine, twins.rows[0], job)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(100, 120))
def test_whatever_happens_for_long_both_stores_say_the_same(seed: int, engine: Engine, clock: Hands) -> None:
    twins = Twins(engine, clock, random.Random(seed))
    for _ in range(4):
        twins.add()
    for n in range(1000):
        step(twins)
        if n % 25 == 0:
            twins.compare()
    for job in twins.jobs:
        check(engine, twins.rows[1], job)
    assert twins.turns > 0
