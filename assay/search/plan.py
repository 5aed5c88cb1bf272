"""The one decision: what a job does next, as a pure function of what is known of it.

`plan(snapshot) -> [actions]`; an empty list means: wait for a trial or a build to end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assay.search.lifecycle import ENDED, JobStatus, StopReason
from assay.search.trial import Trial, TrialStatus
from assay.space import Space

COUNTED_SECONDS = 10.0  # of the time limit for each trial of the trial limit, from which the clock is not looked at
CONVINCING = 4  # trials that fail alike for a reason of OF_DATA
OF_DATA = frozenset(
    {"schema_mismatch", "single_class_target", "target_not_found", "too_few_rows", "unsupported_format"}
)
LIKELY = 4  # best trials: about as many are in an ensemble
MOST_LAST = 2.5  # seconds kept for what every last build does, whatever its size; short jobs keep less
LEAST = 0.125  # share of the limit: with more left a trial is begun, however long others took
PACKED_BYTES = 2.5e7  # of checkpoints that are composed, replayed and packed in a second


@dataclass(frozen=True)
class Build:
    """One assembling of a delivered model from finished trials.  status: queued, running, done or failed."""

    number: int
    final: bool
    status: str
    after_trials: int  # completed trials when it was asked for
    seconds: float | None = None
    model_id: str | None = None


@dataclass(frozen=True)
class Limits:
    """The budget of a job.  None: no such limit.  Seconds count only while the job is active."""

    time_seconds: float | None = 600.0
    trials: int | None = None
    trial_seconds: float | None = None
    concurrent_trials: int | None = None
    memory_mb: int | None = None
    patience_trials: int | None = None
    target_score: float | None = None  # on the internal scale, higher is better
    predict_ms_per_row: float | None = None
    model_mb: float | None = None


@dataclass(frozen=True)
class JobSnapshot:
    """Everything `plan` may look at, read in one transaction.  `elapsed` is active seconds at the time of reading."""

    id: str
    status: JobStatus
    revision: int
    seed: int
    strategy: str
    limits: Limits
    spaces: Mapping[str, Space]
    trials: tuple[Trial, ...]
    builds: tuple[Build, ...]
    elapsed: float
    slots: int = 1  # trials that can run side by side for this job
    lane: str = "cpu"
    ensemble: bool = True
    facts: Mapping[str, Any] | None = None  # kind, n_rows, n_features, n_classes, n_folds
    exhausted: bool = False  # the strategy had nothing left to propose
    stop_reason: StopReason | None = None  # why a finishing job stopped; None: somebody asked for it
    restarted_at: int = 0  # number of the first trial of the present search: patience starts anew on a reopened job

    @property
    def counted(self) -> bool:
        """Whether trials, not seconds, are the budget: then the same job has the same trials on the same machine."""
        trials, seconds = self.limits.trials, self.limits.time_seconds
        return trials is not None and (seconds is None or seconds >= COUNTED_SECONDS * trials)

    @property
    def side_by_side(self) -> int:
        """Trials that may be open at once."""
        return min(self.slots, self.limits.concurrent_trials or self.slots)

    @property
    def completed(self) -> tuple[Trial, ...]:
        return tuple(t for t in self.trials if t.status is TrialStatus.COMPLETED)

    @property
    def open(self) -> tuple[Trial, ...]:
        return tuple(t for t in self.trials if not t.ended)


@dataclass(frozen=True)
class StartTrials:
    """Ask the strategy for up to n proposals and queue them."""

    n: int


@dataclass(frozen=True)
class BuildModel:
    """Assemble a model from the completed trials.  final: the ensemble to deliver, otherwise a first usable model."""

    final: bool


@dataclass(frozen=True)
class FinishJob:
    """Move the job to where it rests: succeeded, failed, cancelled, or paused; or to finishing, when the search is over
    while trials are open: queued ones are stopped, running ones stop at their next report."""

    status: JobStatus
    stop_reason: StopReason | None = None
    error: str | None = None


Action = StartTrials | BuildModel | FinishJob


def plan(job: JobSnapshot) -> list[Action]:
    """What to do next.  Called after every change; its answer changes nothing until a store applies it."""
    if job.status in ENDED or job.status is JobStatus.PAUSED:
        return []
    building = any(b.status in ("queued", "running") for b in job.builds)
    if job.status is JobStatus.PAUSING:
        return [] if building or _running(job) else [FinishJob(JobStatus.PAUSED)]
    if job.status is JobStatus.CANCELLING:
        return _wind_down(job, building, FinishJob(JobStatus.CANCELLED))
    reason = stop_reason(job)
    if reason is not None:
        # at the time limit running trials end by themselves, and what they have by then may count
        if job.open and job.status is JobStatus.RUNNING and reason is not StopReason.TIME_LIMIT:
            return [FinishJob(JobStatus.FINISHING, reason)]
        return _wind_down(job, building, FinishJob(JobStatus.SUCCEEDED, reason))
    actions: list[Action] = []
    if job.completed and (not job.builds or _is_stale(job)):
        actions.append(BuildModel(final=False))
    wanted = _wanted(job)
    if wanted > 0:
        actions.append(StartTrials(wanted))
    return actions


def stop_reason(job: JobSnapshot) -> StopReason | None:
    """Why the search is over, or None while it goes on."""
    limits = job.limits
    if job.status is JobStatus.FINISHING:
        return job.stop_reason or StopReason.FINISHED_BY_USER
    target = limits.target_score
    if target is not None and any(_score(t) >= target for t in job.completed):
        return StopReason.TARGET_SCORE
    if search_seconds_left(job) <= _least_seconds(job):
        return StopReason.TIME_LIMIT
    ended = sum(t.ended for t in job.trials)
    if limits.trials is not None and ended >= limits.trials:
        return StopReason.TRIAL_LIMIT
    if limits.patience_trials is not None and _since_best(job) >= limits.patience_trials:
        return StopReason.PATIENCE
    if (job.exhausted and not job.open) or _data_at_fault(job):
        return StopReason.SPACE_EXHAUSTED
    return None


def reserve_seconds(job: JobSnapshot) -> float:
    """Seconds of the limit kept for the final ensemble and its packaging.

    Three percent and one to two and a half seconds, and what the final build will take: more than the early ones, which have fewer
    members, and what composing, replaying and packing the best trials takes by their size.  Without the three percent where
    trials are nets that take all there is (`facts["worth"]`), whose build takes as many of them as the clock allows.  Never more
    than a third of the limit, but for the share `facts["refit"]` that a task keeps for training on all rows what was chosen.
    """
    limit = job.limits.time_seconds
    if limit is None:
        return 0.0
    built = max((b.seconds or 0.0 for b in job.builds), default=0.0)
    best = sorted((t for t in job.completed if t.score is not None), key=lambda t: (-(t.score or 0.0), t.number))[
        :LIKELY
    ]
    packed = sum(t.size_bytes or 0 for t in best) / PACKED_BYTES
    last = min(MOST_LAST, 1.2 + 0.02 * limit)
    facts = job.facts or {}
    idle = 0.0 if facts.get("worth") else 0.03 * limit
    return min(limit / 3, idle + last + max(1.5 * built, packed)) + float(facts.get("refit", 0.0)) * limit


def search_seconds_left(job: JobSnapshot) -> float:
    """Seconds until the search must have stopped; infinite without a time limit."""
    if job.limits.time_seconds is None:
        return float("inf")
    return job.limits.time_seconds - reserve_seconds(job) - job.elapsed


def _least_seconds(job: JobSnapshot) -> float:
    """With how much time left no trial is begun.

    As much as the quickest of several took, or `LEAST` of the limit: one that cannot end is killed with the process that knows
    the data, just when that is to build the model.  Where the last ones were all stopped, as much as the middle one took:
    the quickest was of another kind than what is proposed now.  And the share `facts["worth"]` of what the best one took, where a
    task's trials are nets that take all there is: one trained for a fraction of the best one's time is far behind it.
    """
    limit, done = job.limits.time_seconds, job.completed
    if limit is None or job.counted or not done:
        return 0.0
    took = sorted(t.seconds or 0.0 for t in done)
    late = [t.status for t in job.trials if t.ended][-LIKELY:]
    all_stopped = late == [TrialStatus.STOPPED] * LIKELY
    enough = took[len(took) // 2 if all_stopped else 0] if len(took) >= LIKELY else 0.0
    worth = float((job.facts or {}).get("worth", 0.0))
    return max(min(enough, LEAST * limit), worth * (max(done, key=_score).seconds or 0.0))


def _wind_down(job: JobSnapshot, building: bool, finish: FinishJob) -> list[Action]:
    """The search is over: let open trials end, build the last model if a better one can be had, then rest."""
    if job.open or building:
        return []
    finals = [b for b in job.builds if b.final and b.after_trials == len(job.completed)]
    if job.completed and not finals and not _too_late(job):
        return [BuildModel(final=True)]
    if any(b.status == "done" for b in job.builds) or finish.status is JobStatus.CANCELLED:
        return [finish]
    if not job.completed:
        return [FinishJob(JobStatus.FAILED, finish.stop_reason, _no_trial(job))]
    return [FinishJob(JobStatus.FAILED, finish.stop_reason, "the model could not be built; see the job's events")]


def _is_stale(job: JobSnapshot) -> bool:
    """Whether half of the time is over and the only model is a first one that was soon surpassed: the next one is what
    users get until the end, what is left if the last build takes too long, and tells how long that will be."""
    limit = job.limits.time_seconds
    if limit is None or len(job.builds) != 1 or job.builds[0].status != "done":
        return False
    spare = search_seconds_left(job) - 4.0 * (job.builds[0].seconds or 0.0)
    return job.elapsed >= 0.5 * limit and spare > 0 and len(job.completed) > 2 * job.builds[0].after_trials


def _too_late(job: JobSnapshot) -> bool:
    """Whether a last build, as slow as the slowest so far, would break the time limit although there is a model."""
    limit = job.limits.time_seconds
    built = [b.seconds or 0.0 for b in job.builds if b.status == "done"]
    return limit is not None and bool(built) and job.elapsed + max(built) > limit + slack_seconds(limit)


def slack_seconds(limit: float) -> float:
    """How far past its limit a job may end: what is promised is five seconds or 5 %, and a little is kept of that."""
    return max(3.5, 0.035 * limit)


def _no_trial(job: JobSnapshot) -> str:
    failed = [t for t in job.trials if t.status is TrialStatus.FAILED]
    if failed:
        first = failed[0]
        return f"none of {len(job.trials)} trials completed; the first one failed with {first.error!r}" + (
            f": {first.why}" if first.why else ""
        )
    return "no trial completed within the limits; allow more time or choose simpler families"


def _data_at_fault(job: JobSnapshot) -> bool:
    """Whether the first trials all failed for a reason that lies in the data, which no configuration can change."""
    ended = [t for t in job.trials if t.ended and t.number >= job.restarted_at]
    codes = {t.error for t in ended}
    return len(ended) >= CONVINCING and len(codes) == 1 and codes <= OF_DATA


def _running(job: JobSnapshot) -> bool:
    return any(t.status is TrialStatus.RUNNING for t in job.trials)


def _wanted(job: JobSnapshot) -> int:
    wanted = job.side_by_side - len(job.open)
    if job.limits.trials is not None:
        wanted = min(wanted, job.limits.trials - len(job.trials))
    if job.counted and job.open:  # trial t starts when all up to t - side_by_side have ended: what it may know
        wanted = min(wanted, job.open[0].number + job.side_by_side - (job.trials[-1].number + 1))
    return 0 if job.exhausted else max(0, wanted)


def _since_best(job: JobSnapshot) -> int:
    """Completed trials after the best one of the present search."""
    completed = [t for t in job.completed if t.number >= job.restarted_at]
    if not completed:
        return 0
    best = max(job.completed, key=lambda t: (_score(t), -t.number))
    return sum(t.number > best.number for t in completed)


def _score(trial: Trial) -> float:
    """A score to compare by: one that is missing or not a number is worse than any other."""
    return trial.score if trial.score is not None and math.isfinite(trial.score) else -math.inf
