"""The one decision, as a table: snapshot in, actions out."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from assay.search.lifecycle import ENDED
from assay.search.lifecycle import JobStatus as J
from assay.search.lifecycle import StopReason as R
from assay.search.plan import (
    Build,
    BuildModel,
    FinishJob,
    JobSnapshot,
    Limits,
    StartTrials,
    plan,
    reserve_seconds,
    search_seconds_left,
)
from assay.search.store import InMemoryStore, Outcome, Started
from assay.search.trial import Proposal, Trial, TrialStatus

BASE = JobSnapshot(
    id="j", status=J.RUNNING, revision=1, seed=0, strategy="random", limits=Limits(time_seconds=100), spaces={},
    trials=(), builds=(), elapsed=10.0, slots=2,
)  # fmt: skip
NOTHING = "no trial completed within the limits; allow more time or choose simpler families"
EARLY = Build(0, False, "done", 1, seconds=0.5)


def trials(*kinds: str) -> tuple[Trial, ...]:
    """c completed (scores rising by number), C completed and the best, r running, q queued, f failed, s stopped."""
    status = {"c": TrialStatus.COMPLETED, "C": TrialStatus.COMPLETED, "r": TrialStatus.RUNNING, "q": TrialStatus.QUEUED}
    status |= {"f": TrialStatus.FAILED, "s": TrialStatus.STOPPED}
    score = {"c": 0.5, "C": 0.9}
    return tuple(
        Trial(i, "x", {}, status[k], score=score.get(k), error="boom" if k == "f" else None)
        for i, k in enumerate(kinds)
    )


def failed(code: str, n: int) -> tuple[Trial, ...]:
    return tuple(Trial(i, "x", {}, TrialStatus.FAILED, error=code) for i in range(n))


CASES: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("a new job fills its slots", {"status": J.QUEUED, "elapsed": 0.0}, [StartTrials(2)]),
    ("a busy job waits", {"trials": trials("r", "r")}, []),
    ("a free slot is filled", {"trials": trials("r", "c"), "builds": (EARLY,)}, [StartTrials(1)]),
    ("the first result becomes a model at once", {"trials": trials("c", "r")}, [BuildModel(False), StartTrials(1)]),
    (
        "half of the time is over: the first model is renewed once",
        {"elapsed": 51.0, "trials": trials("c", "c", "C", "r", "r"), "builds": (EARLY,)},
        [BuildModel(False)],
    ),
    (
        "a second model is enough",
        {"elapsed": 60.0, "trials": trials("c", "c", "C", "r", "r"), "builds": (EARLY, replace(EARLY, number=1))},
        [],
    ),
    ("a failed trial does not stop the search", {"trials": trials("f", "r")}, [StartTrials(1)]),
    (
        "data that no trial can learn from end the search",
        {"trials": failed("too_few_rows", 4)},
        [
            FinishJob(
                J.FAILED, R.SPACE_EXHAUSTED, "none of 4 trials completed; the first one failed with 'too_few_rows'"
            )
        ],
    ),
    ("three such trials are not enough", {"trials": failed("too_few_rows", 3)}, [StartTrials(2)]),
    ("other failures may lie in the configurations", {"trials": failed("diverged", 9)}, [StartTrials(2)]),
    ("no more than the asked trials", {"limits": Limits(trials=3), "trials": trials("f", "r", "r")}, []),
    ("concurrent_trials is kept", {"limits": Limits(concurrent_trials=1), "trials": trials("r")}, []),
    ("time is up: wait for open trials", {"elapsed": 99.0, "trials": trials("c", "r"), "builds": (EARLY,)}, []),
    ("time is up: build", {"elapsed": 99.0, "trials": trials("c", "s"), "builds": (EARLY,)}, [BuildModel(True)]),
    (
        "built: succeeded",
        {"elapsed": 99.0, "trials": trials("c"), "builds": (EARLY, Build(1, True, "done", 1))},
        [FinishJob(J.SUCCEEDED, R.TIME_LIMIT)],
    ),
    (
        "the last build failed, the first model stays",
        {"elapsed": 99.0, "trials": trials("c"), "builds": (EARLY, Build(1, True, "failed", 1))},
        [FinishJob(J.SUCCEEDED, R.TIME_LIMIT)],
    ),
    (
        "time is more than up, and a build as slow as the first would break the limit: the first model stays",
        {"elapsed": 101.0, "trials": trials("c", "s"), "builds": (replace(EARLY, seconds=4.0),)},
        [FinishJob(J.SUCCEEDED, R.TIME_LIMIT)],
    ),
    (
        "time is more than up, and there is no model yet: build",
        {"elapsed": 120.0, "trials": trials("c"), "builds": (replace(EARLY, status="failed", seconds=4.0),)},
        [BuildModel(True)],
    ),
    ("trial limit", {"limits": Limits(trials=2), "trials": trials("c", "c"), "builds": (EARLY,)}, [BuildModel(True)]),
    (
        "target score",
        {"limits": Limits(target_score=0.8), "trials": trials("C", "c"), "builds": (EARLY,)},
        [BuildModel(True)],
    ),
    (
        "target score: what is open is not wanted any more",
        {"limits": Limits(target_score=0.8), "trials": trials("C", "r", "q"), "builds": (EARLY,)},
        [FinishJob(J.FINISHING, R.TARGET_SCORE)],
    ),
    (
        "finishing because of the target score: wait for what runs",
        {"status": J.FINISHING, "stop_reason": R.TARGET_SCORE, "trials": trials("C", "r"), "builds": (EARLY,)},
        [],
    ),
    (
        "finishing because of the target score: the reason stays",
        {
            "status": J.FINISHING,
            "stop_reason": R.TARGET_SCORE,
            "trials": trials("C", "s"),
            "builds": (EARLY, Build(1, True, "done", 1)),
        },
        [FinishJob(J.SUCCEEDED, R.TARGET_SCORE)],
    ),
    (
        "time is up: running trials end by themselves",
        {"elapsed": 99.0, "trials": trials("c", "r"), "builds": (EARLY,)},
        [],
    ),
    (
        "patience",
        {"limits": Limits(patience_trials=2), "trials": trials("C", "c", "c"), "builds": (EARLY,)},
        [BuildModel(True)],
    ),
    ("exhausted", {"exhausted": True, "trials": trials("c"), "builds": (EARLY,)}, [BuildModel(True)]),
    ("finish: build what there is", {"status": J.FINISHING, "trials": trials("c", "s")}, [BuildModel(True)]),
    ("cancel: wait for the work to stop", {"status": J.CANCELLING, "trials": trials("c", "r")}, []),
    (
        "cancel: a good trial still yields a model",
        {"status": J.CANCELLING, "trials": trials("c", "s")},
        [BuildModel(True)],
    ),
    ("cancel: nothing to deliver", {"status": J.CANCELLING, "trials": trials("s")}, [FinishJob(J.CANCELLED)]),
    ("pause: wait for running work", {"status": J.PAUSING, "trials": trials("r")}, []),
    ("pause: queued work may wait", {"status": J.PAUSING, "trials": trials("c", "q")}, [FinishJob(J.PAUSED)]),
    (
        "the first model is being built: the search goes on beside it",
        {"trials": trials("c"), "builds": (Build(0, False, "running", 1),)},
        [StartTrials(2)],
    ),
    (
        "time is up: the first model is still being built",
        {"elapsed": 99.0, "trials": trials("c"), "builds": (Build(0, False, "queued", 1),)},
        [],
    ),
    (
        "the first model failed: no second try before the end",
        {"trials": trials("c", "r", "r"), "builds": (Build(0, False, "failed", 1),)},
        [],
    ),
    (
        "more completed since the last final build: build again",
        {"limits": Limits(trials=3), "trials": trials("c", "c", "f"), "builds": (Build(0, True, "done", 1),)},
        [BuildModel(True)],
    ),
    (
        "reopened with limits it has reached already: ends where it was",
        {"status": J.QUEUED, "elapsed": 99.0, "trials": trials("c"), "builds": (Build(0, True, "done", 1),)},
        [FinishJob(J.SUCCEEDED, R.TIME_LIMIT)],
    ),
    (
        "every build failed",
        {"elapsed": 99.0, "trials": trials("c"), "builds": (Build(0, True, "failed", 1),)},
        [FinishJob(J.FAILED, R.TIME_LIMIT, "the model could not be built; see the job's events")],
    ),
    (
        "no time limit, no end by time",
        {"limits": Limits(time_seconds=None, trials=50), "elapsed": 1e9, "trials": trials("r", "r")},
        [],
    ),
    ("more running than slots now: wait", {"slots": 1, "trials": trials("r", "r")}, []),
    ("exhausted while trials run: wait", {"exhausted": True, "trials": trials("r")}, []),
    (
        "exhausted with a finite space",
        {"exhausted": True, "trials": trials("c"), "builds": (EARLY, Build(1, True, "done", 1))},
        [FinishJob(J.SUCCEEDED, R.SPACE_EXHAUSTED)],
    ),
    (
        "a target of zero is a target",
        {"limits": Limits(target_score=0.0), "trials": (Trial(0, "x", {}, TrialStatus.COMPLETED, score=0.0),)},
        [BuildModel(True)],
    ),
    (
        "a target below zero (an error) is not reached by a worse score",
        {
            "limits": Limits(target_score=-1.0, trials=1),
            "trials": (Trial(0, "x", {}, TrialStatus.RUNNING),),
        },
        [],
    ),
    (
        "a score that is not a number neither reaches a target nor is the best",
        {
            "limits": Limits(target_score=0.4, patience_trials=2, concurrent_trials=1),
            "trials": (
                Trial(0, "x", {}, TrialStatus.COMPLETED, score=0.3),
                Trial(1, "x", {}, TrialStatus.COMPLETED, score=float("nan")),
                Trial(2, "x", {}, TrialStatus.RUNNING),
            ),
            "builds": (EARLY,),
        },
        [],
    ),
    (
        "patience counts completed trials alone",
        {"limits": Limits(patience_trials=2), "trials": trials("C", "c", "f", "s", "r"), "builds": (EARLY,)},
        [StartTrials(1)],
    ),
    (
        "patience starts anew on a reopened job",
        {
            "limits": Limits(patience_trials=2),
            "trials": trials("C", "c", "c", "c", "r"),
            "builds": (EARLY,),
            "restarted_at": 3,
        },
        [StartTrials(1)],
    ),
    (
        "patience ends a reopened job that found nothing better",
        {
            "limits": Limits(patience_trials=2),
            "trials": trials("C", "c", "c", "c", "c"),
            "builds": (EARLY,),
            "restarted_at": 3,
        },
        [BuildModel(True)],
    ),
    ("finish without any trial", {"status": J.FINISHING}, [FinishJob(J.FAILED, R.FINISHED_BY_USER, NOTHING)]),
    ("finish: wait for the work to stop", {"status": J.FINISHING, "trials": trials("c", "r")}, []),
    (
        "finish: built",
        {"status": J.FINISHING, "trials": trials("c"), "builds": (Build(0, True, "done", 1),)},
        [FinishJob(J.SUCCEEDED, R.FINISHED_BY_USER)],
    ),
    (
        "cancel: the model could not be built, cancelled all the same",
        {"status": J.CANCELLING, "trials": trials("c"), "builds": (Build(0, True, "failed", 1),)},
        [FinishJob(J.CANCELLED)],
    ),
    (
        "cancel after the target was reached",
        {
            "status": J.CANCELLING,
            "limits": Limits(target_score=0.1),
            "trials": trials("C"),
            "builds": (Build(0, True, "done", 1),),
        },
        [FinishJob(J.CANCELLED)],
    ),
    (
        "pause: wait for a build",
        {"status": J.PAUSING, "trials": trials("c"), "builds": (Build(0, False, "running", 1),)},
        [],
    ),
    ("pause beats a limit that is reached", {"status": J.PAUSING, "elapsed": 1e9}, [FinishJob(J.PAUSED)]),
    ("failed jobs rest", {"status": J.FAILED}, []),
    ("cancelled jobs rest", {"status": J.CANCELLED, "trials": trials("c")}, []),
    ("paused jobs rest", {"status": J.PAUSED, "trials": trials("q")}, []),
    ("ended jobs rest", {"status": J.SUCCEEDED, "trials": trials("c")}, []),
]


@pytest.mark.parametrize(("changes", "actions"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_a_job_does_next(changes: dict[str, Any], actions: list[Any]) -> None:
    assert plan(replace(BASE, **changes)) == actions


def test_without_any_result_a_job_fails_and_says_why() -> None:
    (action,) = plan(replace(BASE, elapsed=99.0, trials=trials("f", "s")))
    assert isinstance(action, FinishJob)
    assert action.status is J.FAILED
    assert "boom" in str(action.error)


def test_the_reserve_grows_with_what_a_build_took_and_stays_below_a_third() -> None:
    assert reserve_seconds(BASE) == pytest.approx(5.5)
    assert reserve_seconds(replace(BASE, builds=(replace(EARLY, seconds=2.0),))) == pytest.approx(8.5)
    assert reserve_seconds(replace(BASE, builds=(replace(EARLY, seconds=500.0),))) == pytest.approx(100 / 3)
    assert reserve_seconds(replace(BASE, limits=Limits(time_seconds=None, trials=1))) == 0.0


def test_the_reserve_grows_with_the_size_of_the_best_trials() -> None:
    light = trials("c", "c", "c", "c", "c")
    heavy = tuple(replace(t, size_bytes=50_000_000) for t in light)
    assert reserve_seconds(replace(BASE, trials=light)) == pytest.approx(5.5)
    assert reserve_seconds(replace(BASE, trials=heavy)) == pytest.approx(13.5)  # of the best four


def test_the_limit_on_trials_leaves_room_for_those_that_failed_to_start() -> None:
    job = replace(BASE, limits=Limits(trials=5), slots=8, trials=trials("f", "s", "r"))
    assert plan(job) == [StartTrials(2)]


@pytest.mark.parametrize("seed", range(40))
def test_every_job_comes_to_its_end(seed: int) -> None:
    """Random workers, failures, verbs and clocks: the plan never stalls, never overspends, and delivers what it can."""
    rng = random.Random(seed)
    now = 0.0
    store = InMemoryStore(lambda: now)
    limits = Limits(
        time_seconds=rng.choice([None, 30.0]), trials=rng.choice([4, 9]), patience_trials=rng.choice([None, 3]),
        target_score=rng.choice([None, 0.9]), concurrent_trials=rng.choice([None, 1]),
    )  # fmt: skip
    store.add(replace(BASE, status=J.QUEUED, limits=limits, slots=rng.choice([1, 3]), elapsed=0.0))
    for _ in range(300):
        snapshot = store.snapshot("j")
        if snapshot.status in ENDED:
            break
        now += rng.choice([0.1, 1.0])
        decided = []
        for action in plan(snapshot):
            if isinstance(action, StartTrials):
                assert len(snapshot.open) + action.n <= min(snapshot.slots, limits.concurrent_trials or 9)
                assert len(snapshot.trials) + action.n <= (limits.trials or 0)
                proposals = (Proposal("x", {}),) * (0 if rng.random() < 0.02 else action.n)
                decided.append(Started(proposals, "random"))
            else:
                decided.append(action)
        assert store.apply("j", snapshot.revision, decided)
        if rng.random() < 0.03 and store.snapshot("j").status not in ENDED:
            with suppress(ValueError):
                store.request("j", rng.choice(["pause", "cancel", "finish"]))
        if store.snapshot("j").status is J.PAUSED:
            store.request("j", "resume")
        claim = store.claim("w", "cpu", 0)
        if claim is None:
            continue
        if not store.renew(claim) or rng.random() < 0.1:
            store.release(claim)
        elif claim.kind == "build":
            store.finish_build(claim, "m", 0.5, None if rng.random() < 0.8 else {"code": "internal"})
        else:
            kind = rng.choice([TrialStatus.COMPLETED] * 3 + [TrialStatus.FAILED, TrialStatus.STOPPED])
            store.finish(claim, Outcome(kind, score=rng.random() if kind is TrialStatus.COMPLETED else None))
    ended = store.snapshot("j")
    assert ended.status in ENDED
    assert not ended.open
    assert all(b.status in ("done", "failed") for b in ended.builds)
    if ended.completed:
        assert any(b.final and b.after_trials == len(ended.completed) for b in ended.builds)
    assert (ended.status is J.SUCCEEDED) <= any(b.status == "done" for b in ended.builds)


def test_a_task_may_keep_a_share_of_the_time_for_training_on_all_rows() -> None:
    kept = replace(BASE, facts={"refit": 0.4})
    assert reserve_seconds(kept) == pytest.approx(reserve_seconds(BASE) + 40.0)


def test_less_is_kept_where_the_last_build_goes_by_the_clock() -> None:
    paced = replace(BASE, facts={"worth": 0.25})
    assert reserve_seconds(paced) == pytest.approx(reserve_seconds(BASE) - 3.0)


def test_no_trial_begins_with_a_fraction_of_the_best_one_s_time_where_trials_take_all_there_is() -> None:
    done = (replace(trials("C")[0], seconds=40.0), replace(trials("c")[0], number=1, seconds=4.0))
    short = replace(BASE, facts={"worth": 0.25}, trials=done, builds=(EARLY,), elapsed=89.0)
    assert 0.0 < search_seconds_left(short) < 10.0
    assert plan(short) == [BuildModel(True)]
    assert plan(replace(short, facts={})) == plan(replace(short, elapsed=70.0)) == [StartTrials(2)]
    assert plan(replace(short, limits=Limits(time_seconds=100, trials=8))) == [
        StartTrials(2)
    ]  # the clock does not count


def test_no_trial_begins_that_cannot_end() -> None:
    done = tuple(replace(t, seconds=2.0 + t.number) for t in trials("c", "c", "C", "c"))
    late = replace(BASE, trials=done, builds=(EARLY,), elapsed=92.5)
    assert 0.0 < search_seconds_left(late) < 2.0
    assert plan(late) == [BuildModel(True)]
    assert StartTrials(2) in plan(replace(late, elapsed=90.0))
    few = replace(late, trials=done[:3])  # too few to know how quick a trial can be
    assert plan(few) == [StartTrials(2)]
    slow = replace(late, elapsed=80.0, trials=tuple(replace(t, seconds=30.0) for t in done))
    assert search_seconds_left(slow) > 12.5
    assert StartTrials(2) in plan(slow)  # nets may be trained for less


def test_once_trials_are_stopped_one_after_another_none_begins_with_less_than_the_usual_time() -> None:
    done = tuple(replace(t, seconds=s) for t, s in zip(trials(*"cCcc"), (0.1, 4.0, 4.0, 5.0), strict=True))
    stopped = tuple(replace(t, number=4 + t.number, seconds=0.3) for t in trials(*"ssss"))
    late = replace(BASE, trials=done + stopped, builds=(EARLY,), elapsed=91.5)
    assert 0.1 < search_seconds_left(late) < 4.0
    assert plan(late) == [BuildModel(True)]
    assert StartTrials(2) in plan(replace(late, trials=done + stopped[:3]))
    assert StartTrials(2) in plan(replace(late, elapsed=80.0))
