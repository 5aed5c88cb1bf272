"""One change of one job: its row locked, what it becomes, and the events that tell of it, written together."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Executable, Row, Select, bindparam, insert, select, update

from app.db.engine import together
from app.db.tables import EventRow, JobRow, table
from app.store_sql import hooks
from assay.search.lifecycle import ENDED, JobStatus, Phase, job_may

jobs = table(JobRow)
events = table(EventRow)

COUNTERS = ("n_queued", "n_running", "n_completed", "n_stopped", "n_failed")
_RESTING = ENDED | {JobStatus.PAUSED, JobStatus.QUEUED}
_LOCKED = [
    jobs.c[name]
    for name in (
        *("id", "status", "phase", "lane", "priority", "revision", "event_seq", "active_seconds", "active_since"),
        *("started_at", "best_trial", "best_score", "model_id", *COUNTERS),
    )
]
# statements are made once and filled in: making one costs several times as much as running it
_LOCK = select(*_LOCKED).where(jobs.c.id == bindparam("the_job")).with_for_update()
_WRITE = update(jobs).where(jobs.c.id == bindparam("the_job"))
_TELL = insert(events).inline()


class Contended(Exception):
    """Somebody else was faster.  The locks held by now may be out of order: begin a new transaction."""


class JobChange:
    """A locked job.  Reading `change["status"]` gives what was set last; `write` stores all of it, once."""

    def __init__(self, connection: Connection, row: Row[Any], now: datetime) -> None:
        self.now = now
        self._connection = connection
        self._row = row._mapping
        self._set: dict[str, Any] = {}
        self._events: list[tuple[str, dict[str, Any]]] = []
        self._later: list[tuple[Executable, Any]] = []

    def __getitem__(self, name: str) -> Any:
        return self._set[name] if name in self._set else self._row[name]

    @property
    def id(self) -> str:
        return str(self._row["id"])

    @property
    def status(self) -> JobStatus:
        return JobStatus(self["status"])

    @property
    def revision(self) -> int:
        """The revision this change will have."""
        return int(self._row["revision"]) + 1

    @property
    def trials(self) -> int:
        """Trials so far, and so the number of the next one."""
        return sum(self[name] for name in COUNTERS)

    def set(self, **values: Any) -> None:
        self._set |= values

    def count(self, **steps: int) -> None:
        """Add to counters: `count(n_queued=-1, n_running=1)`."""
        self._set |= {name: self[name] + step for name, step in steps.items()}

    def tell(self, type: str, **data: Any) -> None:
        self._events.append((type, data))

    def later(self, statement: Executable, values: Any) -> None:
        """A statement to send with the rest of the change: one whose result nobody needs."""
        self._later.append((statement, values))

    def enter(self, phase: Phase) -> None:
        if self["phase"] != phase.value:
            self.set(phase=phase.value)
            self.tell("job.phase", phase=phase.value)

    def move(self, then: JobStatus, **data: Any) -> None:
        """To another status: its clock runs while the job is active.  Raises ValueError for an impossible move."""
        before = self.status
        if before is then:
            return
        if not job_may(before, then):
            raise ValueError(f"a job that is {before} cannot become {then}")
        since = self["active_since"]
        if then in _RESTING and since is not None:
            seconds = self["active_seconds"] + (self.now - since).total_seconds()
            self.set(active_seconds=seconds, active_since=None)
        elif then not in _RESTING and since is None:
            self.set(active_since=self.now)
        first = then is JobStatus.RUNNING and self["started_at"] is None
        if first:
            self.set(started_at=self.now)
        self.set(status=then.value)
        self.tell(_event_of(before, then, first), **data)

    def write(self, *, revised: bool = True) -> None:
        """revised False: only the events; nothing changed that a decision could rest on."""
        seq = self._row["event_seq"]
        for kind, data in self._events:
            if kind in hooks.OF_JOBS:
                hooks.tell(self._connection, "job", self.id, kind, data, self.now)
        if self._events:
            rows = [
                {"job_id": self.id, "seq": seq + i, "type": kind, "data": data, "created_at": self.now}
                for i, (kind, data) in enumerate(self._events, 1)
            ]
            self._later.append((_TELL, rows))
        revision = self.revision if revised else self._row["revision"]
        values = self._set | {"revision": revision, "event_seq": seq + len(self._events), "updated_at": self.now}
        self._later.append((_WRITE, {"the_job": self.id, **values}))
        with together(self._connection):
            for statement, filling in self._later:
                self._connection.execute(statement, filling)


def lock(connection: Connection, job: str, now: datetime) -> JobChange | None:
    """The job, locked until the transaction ends; None when there is none."""
    row = connection.execute(_LOCK, {"the_job": job}).first()
    return None if row is None else JobChange(connection, row, now)


def locked(connection: Connection, job: str, now: datetime) -> JobChange:
    """The same, for a job that must be there.  Raises KeyError."""
    change = lock(connection, job, now)
    if change is None:
        raise KeyError(job)
    return change


def lockable() -> Select[Any]:
    """The columns a JobChange needs, for queries that choose a job and lock it in one go."""
    return select(*_LOCKED)


def _event_of(before: JobStatus, then: JobStatus, first: bool) -> str:
    if first:
        return "job.started"
    if before is JobStatus.PAUSING and then is JobStatus.RUNNING:
        return "job.resumed"
    if then is JobStatus.QUEUED:
        return "job.resumed" if before is JobStatus.PAUSED else "job.reopened"
    return f"job.{then.value}"
