"""Work besides trials: validating a dataset, building a model, predicting a batch.  Claimed and fenced like a trial."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, bindparam, func, insert, select, update

from app.db.tables import ChoreRow, DatasetRow, ModelRow, PredictionRow, table
from app.store_sql import hooks
from app.store_sql.change import Contended, JobChange, jobs, lock
from app.store_sql.trials import IS_OPEN, trials
from assay.search.lifecycle import ENDED, Phase
from assay.search.plan import Build
from assay.search.store import LEASE, MAX_ATTEMPTS, Claim

chores = table(ChoreRow)
models = table(ModelRow)

KINDS = ("validate", "build", "predict")
SERVED = {"validate": table(DatasetRow), "predict": table(PredictionRow)}  # rows whose status follows their chore
_STATUS = {  # of the row served: while its chore waits, while it is worked on, when it is done
    "validate": ("validating", "validating", "ready"),
    "predict": ("queued", "running", "succeeded"),
}
_WAITS, _WORKED_ON, _DONE = range(3)
_CALLED = {"validate": "dataset", "predict": "prediction"}  # what events say of the row served
LOST: Mapping[str, Any] = {
    "code": "worker_lost",
    "message": f"the worker was lost {MAX_ATTEMPTS} times while it did this; it may need more memory",
}
# statements of the path every trial takes are made once and filled in
_BUILDS = (
    select(*(chores.c[n] for n in ("number", "final", "status", "after_trials", "seconds", "model_id")))
    .where(chores.c.kind == "build", chores.c.ref == bindparam("the_job"))
    .order_by(chores.c.number)
)
_FIRST = (
    select(chores.c.id, chores.c.kind, chores.c.ref)
    .where(IS_OPEN, chores.c.status == "queued", chores.c.lane == bindparam("the_lane"))
    .order_by(chores.c.priority.desc(), chores.c.id)
    .limit(1)
)


def add(connection: Connection, kind: str, ref: str, now: datetime, number: int | None = None, **values: Any) -> int:
    """Queue a chore for the dataset, job or prediction `ref`.  Returns its number; by default the next one."""
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is not a kind of chore; known are {', '.join(KINDS)}")
    if number is None:
        last = select(func.max(chores.c.number)).where(chores.c.kind == kind, chores.c.ref == ref)
        number = (-1 if (found := connection.scalar(last)) is None else found) + 1
    made = {"kind": kind, "ref": ref, "number": number, "status": "queued", "created_at": now}
    connection.execute(insert(chores).inline().values(**made, **values))
    return number


def builds(connection: Connection, job: str) -> tuple[Build, ...]:
    return tuple(Build(*row) for row in connection.execute(_BUILDS, {"the_job": job}))


def claim(connection: Connection, worker: str, lane: str, now: datetime) -> Claim | None:
    """The most urgent, then oldest chore of a lane.  Raises Contended."""
    while (row := connection.execute(_FIRST, {"the_lane": lane}).first()) is not None:
        job = lock(connection, row.ref, now) if row.kind == "build" else None  # before the chore: the order of locks
        token = uuid4().hex
        values = {"status": "running", "token": token, "worker": worker, "lease_until": now + timedelta(seconds=LEASE)}
        taken = connection.execute(
            update(chores)
            .where(chores.c.id == row.id, chores.c.status == "queued")
            .values(**values, attempt=chores.c.attempt + 1)
            .returning(*(chores.c[n] for n in ("number", "final", "after_trials", "attempt")))
        ).first()
        if taken is None:
            if job is not None:
                raise Contended
            continue  # another worker was faster; look again
        payload: dict[str, Any] = {"attempt": taken.attempt}
        if job is not None:
            payload |= {"final": taken.final, "after_trials": taken.after_trials}
            if taken.final:
                job.enter(Phase.ENSEMBLING)
            job.tell("build.started", build=taken.number, final=taken.final)
            job.write()
        _follow(connection, row.kind, row.ref, _WORKED_ON)
        return Claim(row.kind, row.ref, taken.number, token, worker, payload)
    return None


def renew(connection: Connection, claim: Claim, now: datetime) -> bool:
    longer = update(chores).where(*_held(claim)).values(lease_until=now + timedelta(seconds=LEASE))
    if connection.execute(longer).rowcount == 0:
        return False
    if claim.kind != "build":
        return True
    status = connection.scalar(select(jobs.c.status).where(jobs.c.id == claim.ref))
    return status is not None and status not in ENDED  # a cancelled search still delivers what it found


def finish_build(
    connection: Connection,
    claim: Claim,
    model_id: str | None,
    seconds: float,
    error: Mapping[str, Any] | None,
    model: Mapping[str, Any] | None,
    now: datetime,
) -> bool:
    job = lock(connection, claim.ref, now)
    if job is None:
        return False
    values = {"model_id": model_id, "seconds": seconds, "error": None if error is None else dict(error)}
    if not _end(connection, claim, "done" if error is None else "failed", values, now):
        return False
    if error is None:
        final = connection.scalar(select(chores.c.final).where(*_this(claim)))
        if model is not None:
            row = {"job_id": job.id, "build": claim.number, "created_at": now} | dict(model)
            connection.execute(insert(models).values(id=model_id, **row))
        job.tell("build.done", build=claim.number, model_id=model_id, seconds=seconds)
        if model_id is not None:
            score = connection.scalar(select(models.c.score).where(models.c.id == model_id))
            job.set(model_id=model_id, model_score=score)
            job.tell("model.ready", model_id=model_id, final=final)
    else:
        _tell_failed(job, claim.number, error)
    job.write()
    return True


def set_test_metrics(
    connection: Connection, claim: Claim, metrics: Mapping[int, Mapping[str, float]], now: datetime
) -> bool:
    job = lock(connection, claim.ref, now)
    if job is None or connection.scalar(select(chores.c.id).where(*_held(claim)).with_for_update()) is None:
        return False
    for number, values in metrics.items():
        measured = update(trials).where(trials.c.job_id == job.id, trials.c.number == number)
        connection.execute(measured.values(test_metrics=dict(values)))
    job.write()
    return True


def finish(
    connection: Connection,
    claim: Claim,
    seconds: float,
    error: Mapping[str, Any] | None,
    fields: Mapping[str, Any],
    now: datetime,
) -> bool:
    """End a validation or a prediction, and in the same stroke write what it found to the row it served."""
    if claim.kind not in SERVED:
        raise ValueError(f"a {claim.kind} is not ended here; use finish or finish_build")
    values = {"seconds": seconds, "error": None if error is None else dict(error)}
    if not _end(connection, claim, "done" if error is None else "failed", values, now):
        return False
    _serve(connection, claim.kind, claim.ref, error, fields, now)
    return True


def release(connection: Connection, claim: Claim, now: datetime) -> bool:
    job = lock(connection, claim.ref, now) if claim.kind == "build" else None
    values = {"status": "queued", "token": None, "lease_until": None, "worker": None, "attempt": chores.c.attempt - 1}
    if connection.execute(update(chores).where(*_held(claim)).values(**values)).rowcount == 0:
        return False
    _follow(connection, claim.kind, claim.ref, _WAITS)
    if job is not None:
        job.tell("build.requeued", build=claim.number, reason="released")
        job.write()
    return True


def fail_open_builds(connection: Connection, job: JobChange) -> None:
    """End every build of a job that has ended."""
    mine = (chores.c.kind == "build", chores.c.ref == job.id, IS_OPEN)
    error = {"code": "cancelled", "message": "the job ended before this was built"}
    ended = {"status": "failed", "token": None, "lease_until": None, "finished_at": job.now, "error": error}
    for number in connection.scalars(select(chores.c.number).where(*mine)).all():
        _tell_failed(job, number, error)
    connection.execute(update(chores).where(*mine).values(**ended))


def expired(connection: Connection, now: datetime) -> list[Claim]:
    """The claim of every chore whose lease ran out."""
    late = (IS_OPEN, chores.c.status == "running", chores.c.lease_until <= now)
    found = connection.execute(select(chores).where(*late))
    return [Claim(r.kind, r.ref, r.number, r.token, r.worker) for r in found]


def reap(connection: Connection, job: JobChange | None, claim: Claim, now: datetime) -> bool:
    """Queue a lost chore again, or fail it after MAX_ATTEMPTS.  False: its holder was just in time."""
    late = (*_held(claim), chores.c.lease_until <= now)
    attempt = connection.scalar(select(chores.c.attempt).where(*late).with_for_update())
    if attempt is None:
        return False
    if attempt < MAX_ATTEMPTS:
        values = {"status": "queued", "token": None, "lease_until": None, "worker": None}
        connection.execute(update(chores).where(*late).values(**values))
        _follow(connection, claim.kind, claim.ref, _WAITS)
        if job is not None:
            job.tell("build.requeued", build=claim.number, reason="lease_expired")
        return True
    _end(connection, claim, "failed", {"error": dict(LOST)}, now)
    if job is not None:
        _tell_failed(job, claim.number, LOST)
    else:
        _serve(connection, claim.kind, claim.ref, LOST, {}, now)
    return True


def _this(claim: Claim) -> tuple[Any, ...]:
    return chores.c.kind == claim.kind, chores.c.ref == claim.ref, chores.c.number == claim.number


def _held(claim: Claim) -> tuple[Any, ...]:
    """The fence: only the row that still carries the claim's token."""
    return *_this(claim), chores.c.token == claim.token, chores.c.status == "running"


def _end(connection: Connection, claim: Claim, status: str, values: Mapping[str, Any], now: datetime) -> bool:
    ended = {"status": status, "token": None, "lease_until": None, "finished_at": now, **values}
    return bool(connection.execute(update(chores).where(*_held(claim)).values(**ended)).rowcount)


def _tell_failed(job: JobChange, number: int, error: Mapping[str, Any]) -> None:
    job.tell("build.failed", build=number, error={k: error.get(k) for k in ("code", "message")})


def _follow(connection: Connection, kind: str, ref: str, stage: int) -> None:
    if kind in SERVED:
        served = SERVED[kind]
        connection.execute(update(served).where(served.c.id == ref).values(status=_STATUS[kind][stage]))


def _serve(
    connection: Connection,
    kind: str,
    ref: str,
    error: Mapping[str, Any] | None,
    fields: Mapping[str, Any],
    now: datetime,
) -> None:
    served = SERVED[kind]
    status = _STATUS[kind][_DONE] if error is None else "failed"
    values: dict[str, Any] = {"status": status, "error": None if error is None else dict(error)}
    values["updated_at" if "updated_at" in served.c else "finished_at"] = now
    connection.execute(update(served).where(served.c.id == ref).values(**values | dict(fields)))
    name = _CALLED[kind]
    hooks.tell(connection, name, ref, f"{name}.{status}", {"error": values["error"]}, now)
