"""The tables of allowed moves of jobs and trials.  Everything else is an `invalid_transition`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from assay.search.trial import TrialStatus


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    FINISHING = "finishing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StopReason(StrEnum):
    """Why a search ended."""

    TIME_LIMIT = "time_limit"
    TRIAL_LIMIT = "trial_limit"
    TARGET_SCORE = "target_score"
    PATIENCE = "patience"
    SPACE_EXHAUSTED = "space_exhausted"
    FINISHED_BY_USER = "finished_by_user"


class Phase(StrEnum):
    PREPARING = "preparing"
    SEARCHING = "searching"
    ENSEMBLING = "ensembling"
    EVALUATING = "evaluating"
    PACKAGING = "packaging"


ENDED = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})
ACTIVE = frozenset({JobStatus.RUNNING, JobStatus.PAUSING, JobStatus.CANCELLING, JobStatus.FINISHING})
CLAIMABLE = frozenset({JobStatus.QUEUED, JobStatus.RUNNING})  # statuses in which queued trials are handed out

_J = JobStatus
JOB_MOVES: Mapping[JobStatus, frozenset[JobStatus]] = {
    # from queued to succeeded: reopened, and the new limits are reached already
    _J.QUEUED: frozenset({_J.RUNNING, _J.CANCELLING, _J.FINISHING, _J.PAUSED, _J.SUCCEEDED, _J.FAILED, _J.CANCELLED}),
    _J.RUNNING: frozenset({_J.PAUSING, _J.CANCELLING, _J.FINISHING, _J.SUCCEEDED, _J.FAILED}),
    _J.PAUSING: frozenset({_J.PAUSED, _J.RUNNING, _J.CANCELLING, _J.FINISHING}),
    _J.PAUSED: frozenset({_J.QUEUED, _J.CANCELLING, _J.FINISHING, _J.CANCELLED}),
    _J.CANCELLING: frozenset({_J.CANCELLED}),
    _J.FINISHING: frozenset({_J.SUCCEEDED, _J.FAILED, _J.CANCELLING}),
    # an ended job changes only by an explicit reopen (PATCH with larger limits)
    _J.SUCCEEDED: frozenset({_J.QUEUED}),
    _J.FAILED: frozenset({_J.QUEUED}),
    _J.CANCELLED: frozenset({_J.QUEUED}),
}

_T = TrialStatus
TRIAL_MOVES: Mapping[TrialStatus, frozenset[TrialStatus]] = {
    _T.QUEUED: frozenset({_T.RUNNING, _T.STOPPED, _T.FAILED}),
    _T.RUNNING: frozenset({_T.COMPLETED, _T.STOPPED, _T.FAILED, _T.QUEUED}),  # back to queued: its lease was lost
    _T.COMPLETED: frozenset(),
    _T.STOPPED: frozenset(),
    _T.FAILED: frozenset(),
}

# what each verb of the API asks for, and the statuses in which it has nothing left to do
VERBS: Mapping[str, tuple[JobStatus, frozenset[JobStatus]]] = {
    "cancel": (_J.CANCELLING, frozenset({_J.CANCELLING, _J.CANCELLED})),
    "finish": (_J.FINISHING, frozenset({_J.FINISHING, _J.SUCCEEDED})),
    "pause": (_J.PAUSING, frozenset({_J.PAUSING, _J.PAUSED})),
    "resume": (_J.QUEUED, frozenset({_J.QUEUED, _J.RUNNING})),
}


def job_may(now: JobStatus, then: JobStatus) -> bool:
    return then in JOB_MOVES[now]


def trial_may(now: TrialStatus, then: TrialStatus) -> bool:
    return then in TRIAL_MOVES[now]


def verb_target(verb: str, now: JobStatus) -> JobStatus | None:
    """The status a verb leads to from `now`; None when there is nothing to do (idempotent).

    Raises ValueError when the move is impossible.
    """
    then, done = VERBS[verb]
    if now in done:
        return None
    if verb == "pause" and now is JobStatus.QUEUED:
        return JobStatus.PAUSED
    if verb == "resume" and now is JobStatus.PAUSING:
        return JobStatus.RUNNING
    if verb == "resume" and now is not JobStatus.PAUSED:
        raise ValueError(f"a job that is {now} cannot be resumed; only a paused one can")
    if not job_may(now, then):
        raise ValueError(f"a job that is {now} cannot {verb}")
    return then
