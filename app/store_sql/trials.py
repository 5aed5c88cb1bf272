"""Trials between rows and values, and everything a worker writes about the one it holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, bindparam, exists, insert, or_, select, text, update

from app.db.tables import OPEN, BlobRow, ChoreRow, TrialRow, table
from app.storage import small_blob
from app.store_sql.change import Contended, JobChange, jobs, lock, lockable
from assay.search.lifecycle import CLAIMABLE, ENDED, JobStatus, Phase
from assay.search.store import LEASE, MAX_ATTEMPTS, Claim, Outcome, Started, extended
from assay.search.trial import Report, Trial, TrialStatus

trials = table(TrialRow)
blobs = table(BlobRow)
chores = table(ChoreRow)

IS_OPEN = text(OPEN)  # as the partial index says it, so that it can be used
REPORT_EVENTS = timedelta(seconds=0.5)  # between two events about one trial's reports
UNWANTED = ENDED | {JobStatus.CANCELLING, JobStatus.FINISHING}  # a trial given back now is not tried again
VALUES = [
    trials.c[name]
    for name in (
        *("number", "family", "config", "status", "score", "score_std", "fold_scores", "curve", "max_steps"),
        *("fit_seconds", "note", "error", "size_bytes"),
    )
]
LOST: Mapping[str, Any] = {
    "code": "worker_lost",
    "message": f"the worker was lost {MAX_ATTEMPTS} times while it trained this configuration; it may need more memory",
    "traceback": None,
}

# statements are made once and filled in: making one costs several times as much as running it
_HELD = (  # the fence: only the row that still carries the claim's token
    trials.c.job_id == bindparam("the_job"),
    trials.c.number == bindparam("the_number"),
    trials.c.token == bindparam("the_token"),
    trials.c.status == "running",
)
_waiting = trials.alias("waiting")
_FIRST = (
    select(_waiting.c.number)
    .where(_waiting.c.job_id == bindparam("the_job"), IS_OPEN, _waiting.c.status == "queued")
    .order_by(_waiting.c.number)
    .limit(1)
    .scalar_subquery()
)
_NEEDIEST = (
    lockable()
    .where(jobs.c.status.in_(sorted(CLAIMABLE)), jobs.c.lane == bindparam("the_lane"), jobs.c.n_queued > 0)
    .order_by(jobs.c.priority.desc(), jobs.c.n_running, jobs.c.id)
    .limit(1)
)
_NEEDIEST_FREE = _NEEDIEST.with_for_update(skip_locked=True)
_QUEUE = insert(trials).inline()
_TAKE = (
    update(trials)
    .where(trials.c.job_id == bindparam("the_job"), trials.c.number == _FIRST)
    .values(attempt=trials.c.attempt + 1)
    .returning(trials.c.number, trials.c.family, trials.c.config, trials.c.attempt, trials.c.max_steps)
)
_CURVE = (
    select(trials.c.curve, trials.c.reported_at, trials.c.max_steps, jobs.c.status)
    .join_from(trials, jobs, jobs.c.id == trials.c.job_id)
    .where(*_HELD)
)
_other = jobs.alias("other")
_OTHERS_WAIT = or_(
    exists().where(IS_OPEN, chores.c.status == "queued", chores.c.lane == jobs.c.lane),
    exists().where(
        *(_other.c.status.in_(sorted(CLAIMABLE)), _other.c.lane == jobs.c.lane, _other.c.n_queued > 0),
        _other.c.id != jobs.c.id,
    ),
)
# the job's row is locked before the trial's: the order of locks, which Postgres keeps as it is written in `of`
_LOCK_HELD = (
    lockable()
    .add_columns(_OTHERS_WAIT.label("others_wait"))
    .join_from(jobs, trials, trials.c.job_id == jobs.c.id)
    .where(*_HELD)
    .with_for_update(of=[jobs, trials])
)
_WRITE_HELD = update(trials).where(*_HELD)
_blob_of_content = select(blobs.c.id).where(blobs.c.sha256 == bindparam("the_sha256")).scalar_subquery()
_END_WITH_CONTENT = _WRITE_HELD.values(checkpoint_blob=_blob_of_content, checkpoint_sha256=bindparam("the_sha256"))
_BACK = _WRITE_HELD.values(attempt=trials.c.attempt - 1)
_STATUS = select(jobs.c.status).where(jobs.c.id == bindparam("the_job"))
_SHA256 = select(blobs.c.sha256).where(blobs.c.id == bindparam("the_blob"))


def trial_of(row: Any) -> Trial:
    """The value of a row of VALUES."""
    return Trial(
        row.number,
        row.family,
        row.config,
        TrialStatus(row.status),
        row.score,
        row.score_std,
        tuple(_number(v) for v in row.fold_scores),
        tuple(Report(step, _number(score)) for step, score in row.curve),
        row.max_steps,
        row.fit_seconds,
        row.note,
        None if row.error is None else str(row.error.get("code")),
        None if row.error is None else str(row.error.get("message") or "") or None,
        row.size_bytes,
    )


def queue(job: JobChange, started: Started, worker: str | None = None) -> Claim | None:
    """Write what a strategy proposed; nothing proposed means that the space is exhausted.

    A queued job stays queued: its time runs from the first work on.  worker: takes the first of these trials at once;
    its claim is returned.
    """
    if not started.proposals:
        job.set(exhausted=True)
        return None
    job.enter(Phase.SEARCHING)
    steps = started.max_steps or (1,) * len(started.proposals)
    rows = [
        {
            "job_id": job.id,
            "number": number,
            "status": TrialStatus.QUEUED.value,
            "changed": job.revision,
            "family": p.family,
            "config": dict(p.config),
            "strategy": started.strategy,
            "note": p.note.replace("\0", ""),
            "max_steps": max_steps,
            "created_at": job.now,
        }
        for number, (p, max_steps) in enumerate(zip(started.proposals, steps, strict=True), job.trials)
    ]
    job.set(exhausted=False)
    job.count(n_queued=len(rows))
    if worker is None:
        job.later(_QUEUE, rows)
        return None
    token = uuid4().hex
    mine = rows[0] | {"attempt": 1} | _running(job, token, worker)
    job.later(_QUEUE, mine)
    if rows[1:]:
        job.later(_QUEUE, rows[1:])
    return _begun(job, token, worker, mine)


def claim(connection: Connection, worker: str, lane: str, now: datetime) -> Claim | None:
    """The first queued trial of the most urgent job; among equals, of the one with the fewest trials running.

    None, too, when somebody writes to all the jobs with queued trials just now: see `claim_patiently`.
    """
    row = connection.execute(_NEEDIEST_FREE, {"the_lane": lane}).first()
    return None if row is None else _take(connection, JobChange(connection, row, now), worker)


def claim_patiently(connection: Connection, worker: str, lane: str, now: datetime) -> Claim | None:
    """The same, waiting for the job's row.  Needs a transaction of its own.  Raises Contended.

    Choosing and waiting in one statement would not do: Postgres keeps the lock of a row that it waited for and that
    was not wanted any more, and two claims could then hold what the other waits for.
    """
    row = connection.execute(_NEEDIEST, {"the_lane": lane}).first()
    if row is None:
        return None
    job = lock(connection, row.id, now)
    if job is None or job.status not in CLAIMABLE or not job["n_queued"]:
        raise Contended
    return _take(connection, job, worker)


def report(connection: Connection, claim: Claim, report: Report, now: datetime) -> bool:
    held = _fence(claim)
    row = connection.execute(_CURVE, held).first()
    if row is None:
        return False
    curve = extended(tuple(Report(step, _number(score)) for step, score in row.curve), report)
    values: dict[str, Any] = {
        "curve": [[r.step, r.score] for r in curve],
        "lease_until": now + timedelta(seconds=LEASE),
    }
    due = row.reported_at is None or now - row.reported_at >= REPORT_EVENTS
    job = lock(connection, claim.ref, now) if due else None  # before the trial's own row: the order of locks
    if job is not None:
        values["reported_at"] = now
    if connection.execute(_WRITE_HELD, held | values).rowcount == 0:
        return False
    if job is not None:
        job.tell("trial.report", trial=claim.number, step=report.step, score=report.score, max_steps=row.max_steps)
        job.write(revised=False)
    return bool(row.status == JobStatus.RUNNING)


def renew(connection: Connection, claim: Claim, now: datetime) -> bool:
    longer = {"lease_until": now + timedelta(seconds=LEASE)}
    if connection.execute(_WRITE_HELD, _fence(claim) | longer).rowcount == 0:
        return False
    status = connection.scalar(_STATUS, {"the_job": claim.ref})
    return bool(status == JobStatus.RUNNING)


def held(connection: Connection, claim: Claim, now: datetime) -> tuple[JobChange, bool] | None:
    """The claimed trial's job, locked together with the trial, and whether other work of the lane waits.

    None: the claim is lost.
    """
    row = connection.execute(_LOCK_HELD, _fence(claim)).first()
    return None if row is None else (JobChange(connection, row, now), bool(row.others_wait))


def end(connection: Connection, job: JobChange, claim: Claim, outcome: Outcome, content: bytes | None) -> None:
    """Write how a trial that is `held` ended.  content: of its checkpoint, unless `outcome.artifact` names it."""
    values: dict[str, Any] = {
        "status": outcome.status.value,
        "token": None,
        "lease_until": None,
        "finished_at": job.now,
        "changed": job.revision,
        "score": _finite(outcome.score),
        "score_std": _finite(outcome.score_std),
        "fold_scores": list(outcome.fold_scores),
        "fit_seconds": outcome.seconds,
        "metrics": dict(outcome.metrics),
        "predict_ms_per_row": _finite(outcome.predict_ms_per_row),
        "size_bytes": outcome.size_bytes,
        "device": outcome.device,
        "error": None if outcome.error is None else dict(outcome.error),
        "log": outcome.log.replace("\0", ""),
    }
    if outcome.curve:
        values["curve"] = [[r.step, r.score] for r in outcome.curve]
    if outcome.max_steps is not None:
        values["max_steps"] = outcome.max_steps
    if content is not None:
        sha256, stored = small_blob(connection.dialect.name, content, job.now)
        for statement, filling in stored:
            job.later(statement, filling)
        job.later(_END_WITH_CONTENT, _fence(claim) | values | {"the_sha256": sha256})
    else:
        if outcome.artifact is not None:
            blob = int(outcome.artifact)
            sha256 = connection.scalar(_SHA256, {"the_blob": blob})
            values |= {"checkpoint_blob": blob, "checkpoint_sha256": sha256}
        job.later(_WRITE_HELD, _fence(claim) | values)
    job.count(n_running=-1, **{f"n_{outcome.status.value}": 1})
    _tell_end(job, claim.number, str(claim.payload.get("family", "")), outcome)


def release(connection: Connection, claim: Claim, now: datetime) -> bool:
    job = lock(connection, claim.ref, now)
    if job is None:
        return False
    if connection.execute(_BACK, _fence(claim) | _given_back(job)).rowcount == 0:
        return False
    _tell_given_back(job, claim.number, "released")
    job.write()
    return True


def stop_queued(connection: Connection, job: JobChange) -> None:
    """End the trials nobody has begun: they are not wanted any more."""
    waiting = (trials.c.job_id == job.id, IS_OPEN, trials.c.status == "queued")
    _stop(connection, job, waiting)


def stop_open(connection: Connection, job: JobChange) -> None:
    """End everything open, held or not, because the job has ended: late writers find their token gone."""
    _stop(connection, job, (trials.c.job_id == job.id, IS_OPEN))


def expired(connection: Connection, now: datetime) -> list[tuple[str, int, str]]:
    """(job, number, token) of every trial whose lease ran out."""
    late = (IS_OPEN, trials.c.status == "running", trials.c.lease_until <= now)
    found = connection.execute(select(trials.c.job_id, trials.c.number, trials.c.token).where(*late))
    return [(row.job_id, row.number, row.token) for row in found]


def reap(connection: Connection, job: JobChange, number: int, token: str) -> bool:
    """Queue a lost trial again, or fail it after MAX_ATTEMPTS.  False: its holder was just in time."""
    late = (
        trials.c.job_id == job.id,
        trials.c.number == number,
        trials.c.token == token,
        trials.c.lease_until <= job.now,
    )
    row = connection.execute(select(trials.c.attempt, trials.c.family).where(*late).with_for_update()).first()
    if row is None:
        return False
    if row.attempt < MAX_ATTEMPTS:
        connection.execute(update(trials).where(*late).values(**_given_back(job)))
        _tell_given_back(job, number, "lease_expired")
        return True
    ended = {"status": TrialStatus.FAILED.value, "token": None, "lease_until": None, "finished_at": job.now}
    connection.execute(update(trials).where(*late).values(**ended, error=dict(LOST), changed=job.revision))
    job.count(n_running=-1, n_failed=1)
    job.tell("trial.failed", trial=number, family=row.family, error={k: LOST[k] for k in ("code", "message")})
    return True


def _take(connection: Connection, job: JobChange, worker: str) -> Claim:
    token = uuid4().hex
    taken = connection.execute(_TAKE, {"the_job": job.id, "reported_at": None} | _running(job, token, worker)).one()
    claim = _begun(job, token, worker, taken._mapping)
    job.write()
    return claim


def _running(job: JobChange, token: str, worker: str) -> dict[str, Any]:
    return {
        "status": TrialStatus.RUNNING.value,
        "token": token,
        "worker": worker,
        "lease_until": job.now + timedelta(seconds=LEASE),
        "started_at": job.now,
        "changed": job.revision,
    }


def _begun(job: JobChange, token: str, worker: str, trial: Mapping[str, Any]) -> Claim:
    if job.status is JobStatus.QUEUED:
        job.move(JobStatus.RUNNING)
    job.count(n_queued=-1, n_running=1)
    payload = {name: trial[name] for name in ("family", "config", "attempt", "max_steps")}
    number = trial["number"]
    job.tell("trial.started", trial=number, family=trial["family"], worker=worker, attempt=trial["attempt"])
    return Claim("trial", job.id, number, token, worker, payload)


def _fence(claim: Claim) -> dict[str, Any]:
    return {"the_job": claim.ref, "the_number": claim.number, "the_token": claim.token}


def _given_back(job: JobChange) -> dict[str, Any]:
    values: dict[str, Any] = {"token": None, "lease_until": None, "changed": job.revision}
    if job.status in UNWANTED:
        return values | {"status": TrialStatus.STOPPED.value, "finished_at": job.now}
    return values | {"status": TrialStatus.QUEUED.value, "curve": [], "started_at": None, "worker": None}


def _tell_given_back(job: JobChange, number: int, reason: str) -> None:
    if job.status in UNWANTED:
        job.count(n_running=-1, n_stopped=1)
        job.tell("trial.stopped", trial=number)
    else:
        job.count(n_running=-1, n_queued=1)
        job.tell("trial.requeued", trial=number, reason=reason)


def _stop(connection: Connection, job: JobChange, which: tuple[Any, ...]) -> None:
    values = {"status": TrialStatus.STOPPED.value, "token": None, "lease_until": None, "finished_at": job.now}
    was = {row.number: row.status for row in connection.execute(select(trials.c.number, trials.c.status).where(*which))}
    if not was:
        return
    connection.execute(update(trials).where(*which).values(**values, changed=job.revision))
    running = sum(status == "running" for status in was.values())
    job.count(n_queued=running - len(was), n_running=-running, n_stopped=len(was))
    for number in sorted(was):
        job.tell("trial.stopped", trial=number)


def _tell_end(job: JobChange, number: int, family: str, outcome: Outcome) -> None:
    data: dict[str, Any] = {"trial": number, "family": family, "seconds": outcome.seconds}
    if outcome.status is TrialStatus.COMPLETED:
        data["score"] = outcome.score
    if outcome.error is not None:
        data["error"] = {k: outcome.error.get(k) for k in ("code", "message")}
    job.tell(f"trial.{outcome.status.value}", **data)
    score = _finite(outcome.score) if outcome.status is TrialStatus.COMPLETED else None
    if score is None:
        return
    best = job["best_score"]
    if best is None or score > best:
        job.set(best_trial=number, best_score=score, best_std=_finite(outcome.score_std))
        job.tell("best.improved", trial=number, family=family, score=score)
    elif score == best and number < job["best_trial"]:  # of equals the earlier one, whoever ends first
        job.set(best_trial=number, best_std=_finite(outcome.score_std))


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)  # JSON has no NaN: it was written as null
