"""The one decision, as a table: snapshot in, actions out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from assay.search.lifecycle import JobStatus as J
from assay.search.lifecycle import StopReason as R
from assay.search.plan import Build, BuildModel, FinishJob, JobSnapshot, Limits, StartTrials, plan, reserve_seconds
from assay.search.trial import Trial, TrialStatus

BASE = JobSnapshot(
    id="j", status=J.RUNNING, revision=1, seed=0, strategy="random", limits=Limits(time_seconds=100), spaces={},
    trials=(), builds=(), elapsed=10.0, slots=2,
)  # fmt: skip
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


CASES: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("a new job fills its slots", {"status": J.QUEUED, "elapsed": 0.0}, [StartTrials(2)]),
    ("a busy job waits", {"trials": trials("r", "r")}, []),
    ("a free slot is filled", {"trials": trials("r", "c"), "builds": (EARLY,)}, [StartTrials(1)]),
    ("the first result becomes a model at once", {"trials": trials("c", "r")}, [BuildModel(False), StartTrials(1)]),
    ("a failed trial does not stop the search", {"trials": trials("f", "r")}, [StartTrials(1)]),
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
    ("trial limit", {"limits": Limits(trials=2), "trials": trials("c", "c"), "builds": (EARLY,)}, [BuildModel(True)]),
    (
        "target score",
        {"limits": Limits(target_score=0.8), "trials": trials("C", "c"), "builds": (EARLY,)},
        [BuildModel(True)],
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
    assert reserve_seconds(BASE) == pytest.approx(4.0)
    assert reserve_seconds(replace(BASE, builds=(replace(EARLY, seconds=2.0),))) == pytest.approx(8.0)
    assert reserve_seconds(replace(BASE, builds=(replace(EARLY, seconds=500.0),))) == pytest.approx(100 / 3)
    assert reserve_seconds(replace(BASE, limits=Limits(time_seconds=None, trials=1))) == 0.0
