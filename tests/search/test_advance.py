"""What a job asks of its strategy, and that chance has no say in it where trials are counted."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from assay.families import for_task, spaces_of
from assay.search.advance import advance, ask, judge, look_ahead
from assay.search.lifecycle import JobStatus
from assay.search.plan import JobSnapshot, Limits, StartTrials, plan
from assay.search.store import InMemoryStore, Outcome
from assay.search.strategies import discover as strategies
from assay.search.trial import Report, Trial, TrialStatus

FACTS = {"kind": "regression", "n_rows": 500, "n_features": 5, "n_folds": 3}


def job(strategy: str, limits: Limits, slots: int) -> JobSnapshot:
    families = [f for f in ("decision_tree", "knn", "lightgbm", "linear") if f in for_task("regression")]
    return JobSnapshot(
        id="j", status=JobStatus.RUNNING, revision=1, seed=3, strategy=strategy, limits=limits,
        spaces=spaces_of(families), trials=(), builds=(), elapsed=0.0, slots=slots, facts=FACTS,
    )  # fmt: skip


def run(now: JobSnapshot, luck: random.Random) -> list[tuple[str, str]]:
    """Trials end in an order, and take a time, that luck decides; their scores depend on what they are alone."""
    while True:
        starts = [a.n for a in plan(now) if isinstance(a, StartTrials)]
        if starts:
            first = now.trials[-1].number + 1 if now.trials else 0
            new = [
                Trial(first + i, p.family, p.config, TrialStatus.RUNNING, note=p.note)
                for i, p in enumerate(ask(now, starts[0]).proposals)
            ]
            now = replace(now, trials=(*now.trials, *new))
        if not now.open:
            return [(t.family, now.spaces[t.family].key(dict(t.config))) for t in now.trials]
        ends = luck.choice(now.open)
        score = random.Random(now.spaces[ends.family].key(dict(ends.config))).random()
        done = replace(ends, status=TrialStatus.COMPLETED, score=score, score_std=0.1, seconds=luck.random())
        now = replace(now, elapsed=now.elapsed + luck.random())
        now = replace(now, trials=tuple(done if t.number == ends.number else t for t in now.trials))


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("strategy", sorted(strategies()))
def test_counted_trials_are_the_same_whatever_ends_first(strategy: str, slots: int) -> None:
    start = job(strategy, Limits(time_seconds=None, trials=14), slots)
    found = [run(start, random.Random(luck)) for luck in range(3)]
    assert len(found[0]) == 14
    assert found[0] == found[1] == found[2]


def test_a_time_limit_that_is_long_for_the_trials_does_not_matter() -> None:
    free, roomy = (job("auto", Limits(time_seconds=s, trials=10), 2) for s in (None, 1000.0))
    assert run(free, random.Random(1)) == run(roomy, random.Random(2))


def test_a_counted_trial_is_judged_by_what_it_may_know() -> None:
    start = job("random", Limits(time_seconds=None, trials=5), 2)
    assert not replace(start, limits=Limits(time_seconds=30.0, trials=5)).counted
    seen: list[int] = []

    class Looks:
        def judge(self, history, trial, report):  # type: ignore[no-untyped-def]
            seen.extend(t.number for t in history.trials if t.ended)

    trials = tuple(Trial(i, "knn", {}, TrialStatus.COMPLETED, score=0.1, seconds=1.0) for i in range(4))
    running = Trial(4, "knn", {}, TrialStatus.RUNNING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assay.search.advance.strategies", lambda: {"random": Looks()})
        judge(replace(start, trials=(*trials, running)), running, Report(1, 0.0))
    assert seen == [0, 1, 2], "trial 3 may still have been running"


@pytest.mark.parametrize("strategy", ["random", "bayesian", "auto"])
@pytest.mark.parametrize(
    "limits", [Limits(time_seconds=1000.0), Limits(time_seconds=None, trials=3)], ids=["time", "trials"]
)
def test_what_is_thought_out_before_a_trial_ends_is_what_would_be_decided_afterwards(
    strategy: str, limits: Limits
) -> None:
    def store() -> InMemoryStore:
        made = InMemoryStore(lambda: 0.0)
        made.add(replace(job(strategy, limits, 2), status=JobStatus.QUEUED))
        advance(made, "j")
        return made

    one_by_one, at_once = store(), store()
    for n in range(4):
        for _ in range(5):  # a first model goes before the trials
            ours, theirs = (s.claim("w", "cpu", 0) for s in (at_once, one_by_one))
            assert ours is not None and theirs is not None
            if ours.kind == "trial":
                break
            assert at_once.finish_build(ours, "m", 1.0, None) and one_by_one.finish_build(theirs, "m", 1.0, None)
        outcome = Outcome(TrialStatus.COMPLETED, score=0.5 + n / 10, score_std=0.1, seconds=1.0)
        ahead = look_ahead(at_once.snapshot("j"), ours.number, outcome)
        assert at_once.finish(ours, outcome) and one_by_one.finish(theirs, outcome)
        assert at_once.apply("j", ahead.revision + 1, ahead.decisions)
        advance(one_by_one, "j")
        found, expected = at_once.snapshot("j"), one_by_one.snapshot("j")
        assert replace(found, revision=0) == replace(expected, revision=0)
        assert ahead.settled and ahead.after is not None
        assert replace(ahead.after, revision=0) == replace(found, revision=0)
        if limits.trials and n == limits.trials - 1:
            break
