"""Snapshots of jobs that stay cheap with thousands of trials: those that ended are read once per process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from app.db.tables import WorkerRow, table
from app.store_sql import chores
from app.store_sql.change import jobs
from app.store_sql.trials import IS_OPEN, VALUES, trial_of, trials
from assay.search.lifecycle import JobStatus
from assay.search.plan import JobSnapshot, Limits
from assay.search.store import LEASE
from assay.search.trial import TERMINAL, Trial
from assay.space import Space

KEPT = 64  # jobs remembered at once
workers = table(WorkerRow)
_LIMITS = frozenset(f.name for f in fields(Limits))
_CHANGING = [
    jobs.c[n]
    for n in (
        *("status", "revision", "limits", "exhausted", "restarted_at", "lane", "active_seconds", "active_since"),
        *("n_completed", "n_stopped", "n_failed"),
    )
]

_alive = (workers.c.lane == jobs.c.lane, workers.c.seen_at > bindparam("silent"))
_SLOTS = select(func.coalesce(func.sum(workers.c.slots), 0)).where(*_alive).scalar_subquery()
_JOB = select(*_CHANGING, _SLOTS.label("slots")).where(jobs.c.id == bindparam("the_job"))
_OPEN = select(*VALUES).where(trials.c.job_id == bindparam("the_job"), IS_OPEN)
_NEWER = select(*VALUES).where(trials.c.job_id == bindparam("the_job"), trials.c.changed > bindparam("known"))


@dataclass(frozen=True)
class _Frozen:
    """What never changes in a job."""

    seed: int
    strategy: str
    ensemble: bool
    spaces: Mapping[str, Space]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class _Known:
    """A job as of `revision`: its frozen part and the trials that had ended by then, by number."""

    frozen: _Frozen
    revision: int
    ended: Mapping[int, Trial]


class Snapshots:
    """Reads snapshots.  Safe for threads; other processes may write as they like.

    A trial that ended never changes again, and `trials.changed` is the job's revision at that moment: so what was read
    at one revision is completed by the rows changed after it.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, connection: Connection, job: str, now: datetime) -> JobSnapshot:
        """Raises KeyError.  The connection's transaction must see one moment only, as `read_only` ones do."""
        row = connection.execute(_JOB, {"the_job": job, "silent": now - timedelta(seconds=LEASE)}).first()
        if row is None:
            raise KeyError(job)
        known = self._get(job) or _Known(_frozen(connection, job), -1, {})
        known = self._learn(connection, job, known, row)
        opened = connection.execute(_OPEN, {"the_job": job})
        everything = dict(known.ended)
        for r in opened:  # what another thread already saw ending stays ended; such a snapshot is old, and refused
            everything.setdefault(r.number, trial_of(r))
        active = 0.0 if row.active_since is None else (now - row.active_since).total_seconds()
        frozen = known.frozen
        return JobSnapshot(
            id=job,
            status=JobStatus(row.status),
            revision=row.revision,
            seed=frozen.seed,
            strategy=frozen.strategy,
            limits=limits_of(row.limits),
            spaces=frozen.spaces,
            trials=tuple(everything[number] for number in sorted(everything)),
            builds=chores.builds(connection, job),
            elapsed=row.active_seconds + max(0.0, active),
            slots=max(1, int(row.slots)),
            lane=row.lane,
            ensemble=frozen.ensemble,
            facts=frozen.facts,
            exhausted=row.exhausted,
            restarted_at=row.restarted_at,
        )

    def forget(self, job: str) -> None:
        with self._lock:
            self._known.pop(job, None)

    def _get(self, job: str) -> _Known | None:
        with self._lock:
            return self._known.get(job)

    def _learn(self, connection: Connection, job: str, known: _Known, row: Any) -> _Known:
        if known.revision >= row.revision:
            return known
        ended = known.ended
        if len(ended) < row.n_completed + row.n_stopped + row.n_failed:
            newer = connection.execute(_NEWER, {"the_job": job, "known": known.revision})
            new = [trial_of(r) for r in newer if r.status in TERMINAL]
            ended = {**ended, **{t.number: t for t in new}}
        known = _Known(known.frozen, row.revision, ended)
        with self._lock:
            other = self._known.get(job)
            if other is None or other.revision < known.revision:
                self._known[job] = known
            self._known.move_to_end(job)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return known


def limits_of(stored: Mapping[str, Any]) -> Limits:
    return Limits(**{name: value for name, value in stored.items() if name in _LIMITS})


def _frozen(connection: Connection, job: str) -> _Frozen:
    row = connection.execute(select(jobs.c.seed, jobs.c.resolved, jobs.c.spaces).where(jobs.c.id == job)).one()
    resolved = row.resolved
    facts = {
        "kind": resolved.get("kind", ""),
        "n_rows": resolved.get("n_rows", 0),
        "n_features": len(resolved.get("features", ())),
        "n_classes": resolved.get("n_classes", 0),
        "n_folds": resolved.get("folds", 1),
    }
    spaces = {name: Space.from_json(space) for name, space in row.spaces.items()}
    return _Frozen(row.seed, resolved.get("strategy", "auto"), bool(resolved.get("ensemble", True)), spaces, facts)
