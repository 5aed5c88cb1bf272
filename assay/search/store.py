"""Where jobs live: the Store protocol, and its twin in memory for the library and the tests.

Work is claimed with a token that fences it: whoever lost the lease writes nothing.  `InMemoryStore` and the service's
SQL store pass one suite (`assay.testing.stores.StoreSuite`).
"""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from assay.search.lifecycle import CLAIMABLE, ENDED, JobStatus, StopReason, job_may, trial_may, verb_target
from assay.search.plan import Build, BuildModel, FinishJob, JobSnapshot, Limits
from assay.search.trial import TERMINAL, Proposal, Report, Trial, TrialStatus

LEASE = 30.0  # seconds without a heartbeat after which work is somebody else's
MAX_CURVE = 200  # points kept of a learning curve
MAX_ATTEMPTS = 2  # a trial that lost its lease this often is failed, so one that kills its worker cannot loop


@dataclass(frozen=True)
class Claim:
    """The right to do one piece of work.  kind: "trial" or "build" (a service adds kinds of its own).

    `ref` is the job's id (or the id of what else is worked on), `number` the trial's or build's number in it.
    """

    kind: str
    ref: str
    number: int
    token: str
    worker: str
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: what its row keeps.  `artifact` names the stored checkpoint (None: there is none)."""

    status: TrialStatus
    score: float | None = None
    score_std: float | None = None
    fold_scores: tuple[float, ...] = ()
    curve: tuple[Report, ...] = ()
    max_steps: int | None = None  # where it differs from what was planned
    seconds: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)  # public values on validation rows, as people know them
    predict_ms_per_row: float | None = None
    size_bytes: int | None = None
    device: str = "cpu"
    error: Mapping[str, Any] | None = None  # {"code", "message", "traceback"}
    log: str = ""
    artifact: str | None = None


@dataclass(frozen=True)
class Started:
    """StartTrials with the strategy's answer filled in; an empty list marks the space as exhausted."""

    proposals: tuple[Proposal, ...]
    strategy: str
    max_steps: tuple[int, ...] = ()


Decided = Started | BuildModel | FinishJob


@dataclass(frozen=True)
class Ahead:
    """What follows the end of a trial, decided before that end is written: right while the job is at `revision`."""

    revision: int
    decisions: tuple[Decided, ...]
    after: JobSnapshot | None  # the job once the end and the decisions are written; None: it has to be read
    settled: bool  # nothing is left to decide then


def extended(curve: tuple[Report, ...], report: Report) -> tuple[Report, ...]:
    """The curve with one more report; past MAX_CURVE points every second one is left out, never the newest."""
    curve = (*curve, report)
    return curve if len(curve) <= MAX_CURVE else curve[::-2][::-1]


def ended(trial: Trial, outcome: Outcome) -> Trial:
    """The trial as it is once it has ended so."""
    error = outcome.error or {}
    return replace(
        trial,
        status=outcome.status,
        score=outcome.score,
        score_std=outcome.score_std,
        fold_scores=outcome.fold_scores,
        curve=outcome.curve or trial.curve,
        max_steps=outcome.max_steps or trial.max_steps,
        seconds=outcome.seconds,
        error=None if outcome.error is None else str(error.get("code")),
        why=str(error.get("message") or "") or None,
        size_bytes=outcome.size_bytes,
    )


def with_work(snapshot: JobSnapshot, decision: Started | BuildModel) -> JobSnapshot:
    """The job with the work that a decision queues."""
    if isinstance(decision, BuildModel):
        build = Build(len(snapshot.builds), decision.final, "queued", len(snapshot.completed))
        return replace(snapshot, builds=(*snapshot.builds, build))
    first = snapshot.trials[-1].number + 1 if snapshot.trials else 0
    steps = decision.max_steps or (1,) * len(decision.proposals)
    queued = tuple(
        Trial(number, p.family, p.config, TrialStatus.QUEUED, max_steps=most, note=p.note)
        for number, (p, most) in enumerate(zip(decision.proposals, steps, strict=True), first)
    )
    return replace(snapshot, trials=snapshot.trials + queued, exhausted=not queued)


class Store(Protocol):
    """Durable state of jobs.  Every method is one transaction."""

    def snapshot(self, job: str) -> JobSnapshot:
        """Raises KeyError for an unknown job."""
        ...

    def apply(self, job: str, revision: int, decisions: Sequence[Decided]) -> bool:
        """Write decisions taken on the snapshot of that revision.  False: somebody was first, read again."""
        ...

    def claim(self, worker: str, lane: str, free_bytes: int) -> Claim | None:
        """The next piece of work of a lane, or None.  Builds go before trials, then by priority and age."""
        ...

    def report(self, claim: Claim, report: Report) -> bool:
        """Add to a running trial's curve and renew its lease.  False as for `renew`.  The job's revision stays."""
        ...

    def renew(self, claim: Claim) -> bool:
        """Heartbeat.  False: the claim is lost, or the work is no longer wanted (paused, cancelled): stop it."""
        ...

    def finish(self, claim: Claim, outcome: Outcome) -> bool:
        """End a trial, once.  False: the claim is lost and nothing was written."""
        ...

    def finish_build(self, claim: Claim, model_id: str | None, seconds: float, error: Mapping[str, Any] | None) -> bool:
        """End a build, once: model_id of what was stored, or an error."""
        ...

    def release(self, claim: Claim) -> bool:
        """Give work back unharmed (worker shutdown, pause): it is queued again and the attempt is not counted."""
        ...

    def reap(self) -> list[str]:
        """Requeue (or fail, after MAX_ATTEMPTS) work whose lease ran out.  Returns the jobs touched."""
        ...

    def request(self, job: str, verb: str) -> JobStatus:
        """cancel, finish, pause or resume.  Returns the new status.  Raises ValueError when impossible."""
        ...

    def reopen(self, job: str, limits: Limits | None = None) -> None:
        """Queue an ended job again, with other limits; its trials stay.  Raises ValueError when it has not ended."""
        ...


@dataclass
class _Job:
    snapshot: JobSnapshot
    claims: dict[tuple[str, int], tuple[str, float]] = field(default_factory=dict)  # (kind, number) -> token, until
    attempts: dict[tuple[str, int], int] = field(default_factory=dict)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    asked: dict[int, int] = field(default_factory=dict)  # build -> when it was asked for, among all builds
    active_since: float | None = None
    active_seconds: float = 0.0
    stop_reason: StopReason | None = None
    error: str | None = None

    def running(self) -> int:
        return sum(t.status is TrialStatus.RUNNING for t in self.snapshot.trials)


class InMemoryStore:
    """The Store protocol over plain dicts, safe for threads.  `clock` gives seconds (monotonic)."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._jobs: dict[str, _Job] = {}
        self._asked = itertools.count()
        self._lock = threading.RLock()

    def add(self, snapshot: JobSnapshot) -> None:
        """A new job, queued."""
        with self._lock:
            self._jobs[snapshot.id] = _Job(snapshot)

    def outcomes(self, job: str) -> Mapping[int, Outcome]:
        """How each ended trial ended, by number."""
        return dict(self._jobs[job].outcomes)

    def ending(self, job: str) -> tuple[StopReason | None, str | None]:
        """(stop reason, error) of an ended job."""
        return self._jobs[job].stop_reason, self._jobs[job].error

    def snapshot(self, job: str) -> JobSnapshot:
        with self._lock:
            j = self._jobs[job]
            return replace(j.snapshot, elapsed=self._elapsed(j))

    def apply(self, job: str, revision: int, decisions: Sequence[Decided]) -> bool:
        with self._lock:
            j = self._jobs[job]
            if j.snapshot.revision != revision:
                return False
            for decision in decisions:
                self._decide(j, decision)
            self._bump(j)
            return True

    def reopen(self, job: str, limits: Limits | None = None) -> None:
        with self._lock:
            j = self._jobs[job]
            s = j.snapshot
            if s.status not in ENDED:
                raise ValueError(f"a job that is {s.status} has not ended, so it cannot be reopened")
            self._move(j, JobStatus.QUEUED)
            j.stop_reason, j.error = None, None
            wider = limits or s.limits
            j.snapshot = replace(
                j.snapshot, limits=wider, exhausted=False, stop_reason=None, restarted_at=len(s.trials)
            )
            self._bump(j)

    def claim(self, worker: str, lane: str, free_bytes: int) -> Claim | None:
        with self._lock:
            mine = {job: j for job, j in self._jobs.items() if j.snapshot.lane == lane}
            waiting = [(j.asked[b.number], job, b) for job, j in mine.items() for b in j.snapshot.builds if _waits(b)]
            if waiting:
                _, job, build = min(waiting, key=lambda w: w[0])
                j = mine[job]
                self._set_build(j, replace(build, status="running"))
                return self._claimed(j, "build", job, build.number, worker, {"final": build.final})
            ready = [job for job, j in mine.items() if j.snapshot.status in CLAIMABLE and _first(j.snapshot)]
            if not ready:
                return None
            job = min(ready, key=lambda name: mine[name].running())  # of equals the oldest: they are in order of age
            j = mine[job]
            trial = _first(j.snapshot)
            assert trial is not None
            if j.snapshot.status is JobStatus.QUEUED:  # the budget runs from the first work on
                self._move(j, JobStatus.RUNNING)
            self._set_trial(j, replace(trial, status=TrialStatus.RUNNING))
            payload = {"family": trial.family, "config": dict(trial.config)}
            return self._claimed(j, "trial", job, trial.number, worker, payload)

    def report(self, claim: Claim, report: Report) -> bool:
        with self._lock:
            j = self._owned(claim)
            if j is None:
                return False
            trial = self._trial(j, claim.number)
            self._set_trial(j, replace(trial, curve=extended(trial.curve, report)), revised=False)
            return self.renew(claim)

    def renew(self, claim: Claim) -> bool:
        with self._lock:
            j = self._owned(claim)
            if j is None:
                return False
            j.claims[claim.kind, claim.number] = (claim.token, self._clock() + LEASE)
            return claim.kind != "trial" or j.snapshot.status is JobStatus.RUNNING

    def finish(self, claim: Claim, outcome: Outcome) -> bool:
        if outcome.status not in TERMINAL:
            raise ValueError(f"a trial ends completed, stopped or failed, not {outcome.status}")
        with self._lock:
            j = self._owned(claim)
            if j is None:
                return False
            done = ended(self._trial(j, claim.number), outcome)
            del j.claims[claim.kind, claim.number]
            j.outcomes[claim.number] = outcome
            self._set_trial(j, done)
            return True

    def finish_build(self, claim: Claim, model_id: str | None, seconds: float, error: Mapping[str, Any] | None) -> bool:
        with self._lock:
            j = self._owned(claim)
            if j is None:
                return False
            build = next(b for b in j.snapshot.builds if b.number == claim.number)
            status = "done" if error is None else "failed"
            del j.claims[claim.kind, claim.number]
            self._set_build(j, replace(build, status=status, seconds=seconds, model_id=model_id))
            return True

    def release(self, claim: Claim) -> bool:
        with self._lock:
            j = self._owned(claim)
            if j is None:
                return False
            self._requeue(j, claim.kind, claim.number)
            j.attempts[claim.kind, claim.number] -= 1
            return True

    def reap(self) -> list[str]:
        touched: list[str] = []
        with self._lock:
            for job_id, j in self._jobs.items():
                for (kind, number), (_, until) in list(j.claims.items()):
                    if until > self._clock():
                        continue
                    touched.append(job_id)
                    if j.attempts[kind, number] < MAX_ATTEMPTS:
                        self._requeue(j, kind, number)
                    else:
                        self._give_up(j, kind, number)
        return touched

    def request(self, job: str, verb: str) -> JobStatus:
        with self._lock:
            j = self._jobs[job]
            then = verb_target(verb, j.snapshot.status)
            if then is None:
                return j.snapshot.status
            self._move(j, then)
            if then in (JobStatus.CANCELLING, JobStatus.FINISHING):
                self._stop(j, TrialStatus.QUEUED)
            self._bump(j)
            return then

    # -- inside the lock ------------------------------------------------------------------------------------------

    def _elapsed(self, j: _Job) -> float:
        return j.active_seconds + (self._clock() - j.active_since if j.active_since is not None else 0.0)

    def _bump(self, j: _Job) -> None:
        j.snapshot = replace(j.snapshot, revision=j.snapshot.revision + 1)

    def _move(self, j: _Job, status: JobStatus) -> None:
        before = j.snapshot.status
        if before is status:
            return
        if not job_may(before, status):
            raise ValueError(f"a job that is {before} cannot become {status}")
        resting = status in ENDED or status in (JobStatus.PAUSED, JobStatus.QUEUED)
        if resting and j.active_since is not None:
            j.active_seconds, j.active_since = self._elapsed(j), None
        elif not resting and j.active_since is None:
            j.active_since = self._clock()
        j.snapshot = replace(j.snapshot, status=status)

    def _decide(self, j: _Job, decision: Decided) -> None:
        if not isinstance(decision, FinishJob):
            j.snapshot = with_work(j.snapshot, decision)
            if isinstance(decision, BuildModel):
                j.asked[j.snapshot.builds[-1].number] = next(self._asked)
        else:
            self._move(j, decision.status)
            if decision.status in ENDED:
                self._end_work(j)
            elif decision.status is JobStatus.FINISHING:
                self._stop(j, TrialStatus.QUEUED)
            j.stop_reason, j.error = decision.stop_reason, decision.error
            j.snapshot = replace(j.snapshot, stop_reason=decision.stop_reason)

    def _end_work(self, j: _Job) -> None:
        """Nothing of an ended job stays open; whoever works on it finds the claim lost."""
        self._stop(j, TrialStatus.QUEUED, TrialStatus.RUNNING)
        builds = tuple(
            replace(b, status="failed") if b.status in ("queued", "running") else b for b in j.snapshot.builds
        )
        j.snapshot = replace(j.snapshot, builds=builds)
        j.claims.clear()

    def _stop(self, j: _Job, *which: TrialStatus) -> None:
        for trial in j.snapshot.trials:
            if trial.status in which:
                self._set_trial(j, replace(trial, status=TrialStatus.STOPPED), revised=False)

    def _claimed(self, j: _Job, kind: str, ref: str, number: int, worker: str, payload: Mapping[str, Any]) -> Claim:
        token = uuid.uuid4().hex
        j.claims[kind, number] = (token, self._clock() + LEASE)
        j.attempts[kind, number] = j.attempts.get((kind, number), 0) + 1
        return Claim(kind, ref, number, token, worker, payload)

    def _owned(self, claim: Claim) -> _Job | None:
        j = self._jobs.get(claim.ref)
        held = j.claims.get((claim.kind, claim.number)) if j is not None else None
        return j if held is not None and held[0] == claim.token else None

    def _trial(self, j: _Job, number: int) -> Trial:
        return next(t for t in j.snapshot.trials if t.number == number)

    def _set_trial(self, j: _Job, trial: Trial, *, revised: bool = True) -> None:
        before = self._trial(j, trial.number).status
        if before is not trial.status and not trial_may(before, trial.status):
            raise ValueError(f"a trial that is {before} cannot become {trial.status}")
        trials = tuple(trial if t.number == trial.number else t for t in j.snapshot.trials)
        j.snapshot = replace(j.snapshot, trials=trials)
        if revised:
            self._bump(j)

    def _set_build(self, j: _Job, build: Build) -> None:
        builds = tuple(build if b.number == build.number else b for b in j.snapshot.builds)
        j.snapshot = replace(j.snapshot, builds=builds)
        self._bump(j)

    def _requeue(self, j: _Job, kind: str, number: int) -> None:
        del j.claims[kind, number]
        if kind == "build":
            build = next(b for b in j.snapshot.builds if b.number == number)
            self._set_build(j, replace(build, status="queued"))
        elif j.snapshot.status in (JobStatus.CANCELLING, JobStatus.FINISHING):
            self._set_trial(j, replace(self._trial(j, number), status=TrialStatus.STOPPED))
        else:
            self._set_trial(j, replace(self._trial(j, number), status=TrialStatus.QUEUED, curve=()))

    def _give_up(self, j: _Job, kind: str, number: int) -> None:
        del j.claims[kind, number]
        if kind == "build":
            build = next(b for b in j.snapshot.builds if b.number == number)
            self._set_build(j, replace(build, status="failed"))
        else:
            self._set_trial(j, replace(self._trial(j, number), status=TrialStatus.FAILED, error="worker_lost"))


def _waits(build: Build) -> bool:
    return build.status == "queued"


def _first(job: JobSnapshot) -> Trial | None:
    return next((t for t in job.trials if t.status is TrialStatus.QUEUED), None)
