"""Jobs from their making to their deletion: everything about them that is not a worker's business."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from app.db.tables import DatasetRow, EventRow, table
from app.ids import new_id
from app.store_sql import chores, trials
from app.store_sql.change import JobChange, events, jobs, locked
from assay.search.lifecycle import CLAIMABLE, ENDED, JobStatus, Phase, verb_target
from assay.search.plan import BuildModel, FinishJob, Limits
from assay.search.store import Ahead, Claim, Decided, Outcome, Started
from assay.search.trial import TERMINAL
from assay.space import Space

datasets = table(DatasetRow)
LIVE = frozenset(JobStatus) - ENDED - {JobStatus.PAUSED}  # statuses in which something may be left to decide


@dataclass(frozen=True)
class Turn:
    """What became of a trial's end: whether it was written (or the claim lost), and the trial to go on with."""

    written: bool
    claim: Claim | None = None


def create(
    connection: Connection,
    now: datetime,
    *,
    owner: str,
    name: str,
    dataset_id: str,
    request: Mapping[str, Any],
    resolved: Mapping[str, Any],
    spaces: Mapping[str, Space],
    limits: Limits,
    seed: int,
    lane: str,
    priority: int,
    tags: Mapping[str, Any],
    warnings: Sequence[Any],
    traceparent: str | None,
) -> str:
    job = new_id("job")
    row = {
        "id": job,
        "owner": owner,
        "name": name,
        "dataset_id": dataset_id,
        "status": JobStatus.QUEUED.value,
        "phase": Phase.PREPARING.value,
        "lane": lane,
        "priority": priority,
        "seed": seed,
        "revision": 1,
        "event_seq": 1,
        "request": dict(request),
        "resolved": dict(resolved),
        "spaces": {family: space.to_json() for family, space in spaces.items()},
        "limits": asdict(limits),
        "warnings": list(warnings),
        "tags": dict(tags),
        "traceparent": traceparent,
        "created_at": now,
        "updated_at": now,
    }
    connection.execute(insert(jobs).inline().values(**row))
    created = {"job_id": job, "seq": 1, "type": "job.created", "data": {"name": name}, "created_at": now}
    connection.execute(insert(events).inline().values(**created))
    return job


def apply(connection: Connection, job: str, revision: int, decisions: Sequence[Decided], now: datetime) -> bool:
    change = locked(connection, job, now)
    if change.revision != revision + 1:
        return False
    for decision in decisions:
        _decide(connection, change, decision)
    change.write()
    return True


def turn(
    connection: Connection, claim: Claim, outcome: Outcome, content: bytes | None, ahead: Ahead | None, now: datetime
) -> Turn | None:
    """End a trial, write what follows, let the worker go on with its next trial.  None: `ahead` is out of date.

    The worker goes on only when nobody else's work waits, so that jobs and chores get their share.
    """
    if outcome.status not in TERMINAL:
        raise ValueError(f"a trial ends completed, stopped or failed, not {outcome.status}")
    found = trials.held(connection, claim, now)
    if found is None:
        return Turn(False)
    change, others_wait = found
    if ahead is not None and change.revision != ahead.revision + 1:
        return None
    trials.end(connection, change, claim, outcome, content)
    mine: Claim | None = None
    if ahead is not None:
        goes_on = not others_wait and change["n_queued"] == 0 and change.status in CLAIMABLE
        goes_on &= all(isinstance(d, Started) for d in ahead.decisions)
        for decision in ahead.decisions:
            if goes_on and mine is None and isinstance(decision, Started):
                mine = trials.queue(change, decision, claim.worker)
            else:
                _decide(connection, change, decision)
    change.write()
    return Turn(True, mine)


def request(connection: Connection, job: str, verb: str, now: datetime) -> JobStatus:
    change = locked(connection, job, now)
    then = verb_target(verb, change.status)
    if then is None:
        return change.status
    change.move(then)
    if then in (JobStatus.CANCELLING, JobStatus.FINISHING):
        trials.stop_queued(connection, change)
    change.write()
    return then


def reopen(connection: Connection, job: str, limits: Limits | None, now: datetime) -> None:
    change = locked(connection, job, now)
    if change.status not in ENDED:
        raise ValueError(f"a job that is {change.status} has not ended, so it cannot be reopened")
    change.move(JobStatus.QUEUED)
    change.set(exhausted=False, restarted_at=change.trials, stop_reason=None, finished_at=None, error=None)
    if limits is not None:
        change.set(limits=asdict(limits))
    change.write()


def update_job(connection: Connection, job: str, values: Mapping[str, Any], now: datetime) -> None:
    change = locked(connection, job, now)
    clean = {k: asdict(v) if isinstance(v, Limits) else v for k, v in values.items()}
    change.set(**clean)
    change.tell("job.updated", fields=sorted(clean))
    if "priority" in clean:
        mine = (chores.chores.c.kind == "build", chores.chores.c.ref == job, trials.IS_OPEN)
        connection.execute(update(chores.chores).where(*mine).values(priority=clean["priority"]))
    change.write()


def delete_job(connection: Connection, job: str, now: datetime) -> None:
    locked(connection, job, now)
    builds = (chores.chores.c.kind == "build", chores.chores.c.ref == job)
    connection.execute(delete(chores.chores).where(*builds))
    connection.execute(delete(trials.trials).where(trials.trials.c.job_id == job))
    connection.execute(delete(events).where(events.c.job_id == job))
    connection.execute(delete(jobs).where(jobs.c.id == job))


def delete_dataset(connection: Connection, dataset: str) -> None:
    mine = (chores.chores.c.kind == "validate", chores.chores.c.ref == dataset)
    connection.execute(delete(chores.chores).where(*mine))  # before the dataset's row: as those do who end a chore
    if connection.scalar(select(datasets.c.id).where(datasets.c.id == dataset).with_for_update()) is None:
        raise KeyError(dataset)
    working = (jobs.c.dataset_id == dataset, jobs.c.status.not_in([s.value for s in ENDED]))
    busy = connection.scalar(select(jobs.c.id).where(*working).limit(1))
    if busy is not None:
        raise ValueError(f"job {busy} still trains on this dataset; cancel it first")
    connection.execute(delete(datasets).where(datasets.c.id == dataset))


def live(connection: Connection, lane: str | None) -> list[str]:
    """Ids of the jobs somebody should plan for, the most urgent and oldest first."""
    wanted = select(jobs.c.id).where(jobs.c.status.in_([s.value for s in LIVE]))
    if lane is not None:
        wanted = wanted.where(jobs.c.lane == lane)
    return list(connection.scalars(wanted.order_by(jobs.c.priority.desc(), jobs.c.id)))


def events_after(connection: Connection, job: str, after: int, limit: int) -> list[EventRow]:
    found = connection.execute(
        select(events).where(events.c.job_id == job, events.c.seq > after).order_by(events.c.seq).limit(limit)
    )
    return [EventRow(**row._mapping) for row in found]


def _decide(connection: Connection, change: JobChange, decision: Decided) -> None:
    if isinstance(decision, Started):
        trials.queue(change, decision)
    elif isinstance(decision, BuildModel):
        values = {"final": decision.final, "after_trials": change["n_completed"]}
        in_lane = {"lane": change["lane"], "priority": change["priority"]}
        chores.add(connection, "build", change.id, change.now, **in_lane, **values)
    else:
        _rest(connection, change, decision)


def _rest(connection: Connection, change: JobChange, decision: FinishJob) -> None:
    reason = None if decision.stop_reason is None else decision.stop_reason.value
    error = None if decision.error is None else {"code": "job_failed", "message": decision.error}
    if decision.status in ENDED:
        trials.stop_open(connection, change)
        chores.fail_open_builds(connection, change)
        change.set(finished_at=change.now)
    elif decision.status is JobStatus.FINISHING:
        trials.stop_queued(connection, change)
    change.set(stop_reason=reason, error=error)
    change.move(decision.status, stop_reason=reason, error=error, model_id=change["model_id"])
