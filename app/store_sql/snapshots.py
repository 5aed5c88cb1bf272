"""Snapshots of jobs that stay cheap with thousands of trials: those that ended are read once per process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, union_all

from app.db.tables import WorkerRow, table
from app.store_sql import chores
from app.store_sql.change import jobs
from app.store_sql.trials import IS_OPEN, VALUES, trial_of, trials
from assay.metrics import METRICS
from assay.search.lifecycle import JobStatus, StopReason
from assay.search.plan import Build, JobSnapshot, Limits
from assay.search.store import LEASE
from assay.search.trial import Trial
from assay.space import Space
from assay.spec import learnt_rows, search_facts

KEPT = 64  # jobs remembered at once
workers = table(WorkerRow)
_LIMITS = frozenset(f.name for f in fields(Limits))
_CHANGING = [
    jobs.c[n]
    for n in (
        *(
            "status",
            "revision",
            "limits",
            "exhausted",
            "restarted_at",
            "lane",
            "active_seconds",
            "active_since",
            "stop_reason",
        ),
        *("n_completed", "n_stopped", "n_failed"),
    )
]

_alive = (workers.c.lane == jobs.c.lane, workers.c.seen_at > bindparam("silent"))
_SLOTS = select(func.coalesce(func.sum(workers.c.slots), 0)).where(*_alive).scalar_subquery()
_mine = (chores.chores.c.kind == "build", chores.chores.c.ref == jobs.c.id)
_BUILDS = select(func.count()).select_from(chores.chores).where(*_mine).scalar_subquery()
_JOB = select(*_CHANGING, _SLOTS.label("slots"), _BUILDS.label("n_builds")).where(jobs.c.id == bindparam("the_job"))
# two searches of two indexes; as one search with OR, SQLite reads every trial of the job
_TRIALS = union_all(
    select(*VALUES).where(trials.c.job_id == bindparam("the_job"), trials.c.changed > bindparam("known")),
    select(*VALUES).where(trials.c.job_id == bindparam("the_job"), IS_OPEN),
)


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
    """A job as of `revision`: its frozen part, the trials that had ended by then, and its builds."""

    frozen: _Frozen
    revision: int
    ended: tuple[Trial, ...]  # by number
    numbers: frozenset[int]  # of those
    builds: tuple[Build, ...]


class Snapshots:
    """Reads snapshots.  Safe for threads; other processes may write as they like.

    A trial that ended never changes again, and `trials.changed` is the job's revision at that moment: so what was read
    at one revision is completed by the rows changed after it.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, connection: Connection, job: str, now: datetime) -> JobSnapshot:
        """Raises KeyError.

        The job's row is read first, so that what comes after is as new as the revision or newer; a decision on a
        snapshot that is newer in parts is refused by that revision.
        """
        row = connection.execute(_JOB, {"the_job": job, "silent": now - timedelta(seconds=LEASE)}).first()
        if row is None:
            raise KeyError(job)
        with self._lock:
            known = self._known.get(job)
        if known is None:
            known = _Known(_frozen(connection, job), -1, (), frozenset(), ())
        found = connection.execute(_TRIALS, {"the_job": job, "known": known.revision})
        # what another thread already saw ending stays ended
        unknown = {r.number: r for r in found if r.number not in known.numbers}
        fresh = [trial_of(unknown[number]) for number in sorted(unknown)]
        builds = known.builds
        if len(builds) != row.n_builds or any(b.status not in ("done", "failed") for b in builds):
            builds = chores.builds(connection, job)
        self._learn(job, known, row.revision, fresh, builds)
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
            trials=_merged(known.ended, fresh),
            builds=builds,
            elapsed=row.active_seconds + max(0.0, active),
            slots=max(1, int(row.slots)),
            lane=row.lane,
            ensemble=frozen.ensemble,
            facts=frozen.facts,
            exhausted=row.exhausted,
            stop_reason=None if row.stop_reason is None else StopReason(row.stop_reason),
            restarted_at=row.restarted_at,
        )

    def forget(self, job: str) -> None:
        with self._lock:
            self._known.pop(job, None)

    def _learn(self, job: str, known: _Known, revision: int, fresh: Sequence[Trial], builds: tuple[Build, ...]) -> None:
        ended, numbers = known.ended, known.numbers
        new = [t for t in fresh if t.ended]
        if new:
            ended, numbers = _merged(ended, new), numbers.union(map(_number, new))
        known = _Known(known.frozen, max(revision, known.revision), ended, numbers, builds)
        with self._lock:
            other = self._known.get(job)
            if other is None or other.revision <= known.revision:
                self._known[job] = known
            self._known.move_to_end(job)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)


def _merged(old: tuple[Trial, ...], new: Sequence[Trial]) -> tuple[Trial, ...]:
    """Both, by number; each is sorted already."""
    together = (*old, *new)
    return together if not old or not new or old[-1].number < new[0].number else tuple(sorted(together, key=_number))


def _number(trial: Trial) -> int:
    return trial.number


def limits_of(stored: Mapping[str, Any]) -> Limits:
    return Limits(**{name: value for name, value in stored.items() if name in _LIMITS})


def _frozen(connection: Connection, job: str) -> _Frozen:
    row = connection.execute(select(jobs.c.seed, jobs.c.resolved, jobs.c.spaces).where(jobs.c.id == job)).first()
    if row is None:  # deleted a moment ago
        raise KeyError(job)
    resolved = row.resolved
    options = resolved.get("options", {})
    facts = {
        "kind": resolved.get("kind", ""),
        "n_rows": learnt_rows(resolved.get("n_rows", 0), options),
        "n_features": len(resolved.get("features", ())),
        "n_classes": resolved.get("n_classes", 0),
        # of a hold-out, `folds` tells how large the part is that judges: one is trained
        "n_folds": 1 if resolved.get("method") == "holdout" else resolved.get("folds", 1),
        "perfect": METRICS[resolved["metric"]].perfect if resolved.get("metric") in METRICS else None,
        **search_facts(options),
    }
    if starts := options.get("warm_starts"):
        facts["warm_starts"] = starts
    spaces = {name: Space.from_json(space) for name, space in row.spaces.items()}
    return _Frozen(row.seed, resolved.get("strategy", "auto"), bool(resolved.get("ensemble", True)), spaces, facts)
