"""Jobs, trials and chores as rows: the Store protocol over SQL, and what the API and the workers need besides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine

from app.clock import Clock, utc_now
from app.db.engine import glance, transaction
from app.db.tables import EventRow, WorkerRow
from app.store_sql import chores, jobs, trials, workers
from app.store_sql.change import Contended, locked
from app.store_sql.snapshots import Snapshots
from assay.search.lifecycle import JobStatus, Phase
from assay.search.plan import JobSnapshot, Limits
from assay.search.store import Ahead, Claim, Decided, Outcome
from assay.search.trial import Report
from assay.space import Space

CLAIMS = 50  # a lost race is tried again; this many in a row mean that others do all there is


class SqlStore:
    """Durable jobs on SQLite or Postgres.  Every method is one transaction; nothing is lost once it returned.

    Writes of workers carry the token of their claim: after the lease was lost they change nothing and return False.
    Every change of a job raises its revision by one and writes its events, numbered without gaps, in the same stroke.
    Methods that take `connection` join that transaction instead of making their own.
    All raise DatabaseUnavailable when the database cannot be reached.
    """

    def __init__(self, engine: Engine, clock: Clock = utc_now) -> None:
        self.engine = engine
        self._clock = clock
        self._snapshots = Snapshots()

    # -- the Store protocol ---------------------------------------------------------------------------------------

    def snapshot(self, job: str) -> JobSnapshot:
        """Raises KeyError for an unknown job."""
        with glance(self.engine) as connection:
            return self._snapshots.read(connection, job, self._clock())

    def apply(self, job: str, revision: int, decisions: Sequence[Decided]) -> bool:
        """False: the job changed since that revision.  Raises KeyError; ValueError for an impossible move."""
        with transaction(self.engine) as connection:
            return jobs.apply(connection, job, revision, decisions, self._clock())

    def claim(self, worker: str, lane: str, free_bytes: int) -> Claim | None:
        """Chores first, then trials; by priority (10 before 1), then fairly between jobs, then by age."""
        for attempt in range(CLAIMS):
            try:
                with transaction(self.engine) as connection:
                    now = self._clock()
                    found = chores.claim(connection, worker, lane, now)
                    if found is None:
                        claim = trials.claim_patiently if attempt else trials.claim
                        found = claim(connection, worker, lane, now)
                if found is not None or attempt or self.engine.dialect.name == "sqlite":
                    return found
            except Contended:
                continue
        return None

    def report(self, claim: Claim, report: Report) -> bool:
        with transaction(self.engine) as connection:
            return trials.report(connection, claim, report, self._clock())

    def renew(self, claim: Claim) -> bool:
        with transaction(self.engine) as connection:
            renew = trials.renew if claim.kind == "trial" else chores.renew
            return renew(connection, claim, self._clock())

    def finish(self, claim: Claim, outcome: Outcome) -> bool:
        """`outcome.artifact` is the id of the checkpoint's blob, as text."""
        turn = self.turn(claim, outcome)
        return turn is not None and turn.written

    def turn(
        self, claim: Claim, outcome: Outcome, content: bytes | None = None, ahead: Ahead | None = None
    ) -> jobs.Turn | None:
        """End a trial and go on: `finish`, `apply` and, if nobody else's work waits, the next `claim`, in one stroke.

        content: of the checkpoint, at most `app.storage.SMALL` bytes, unless `outcome.artifact` names its blob.
        ahead: what follows, thought out on a snapshot; None: only the trial's end is written.
        Returns None, and writes nothing, when the job has changed since that snapshot.
        """
        with transaction(self.engine) as connection:
            return jobs.turn(connection, claim, outcome, content, ahead, self._clock())

    def finish_build(
        self,
        claim: Claim,
        model_id: str | None,
        seconds: float,
        error: Mapping[str, Any] | None,
        model: Mapping[str, Any] | None = None,
    ) -> bool:
        """model: columns of the ModelRow to write with it, so that a lost claim leaves no model behind."""
        with transaction(self.engine) as connection:
            return chores.finish_build(connection, claim, model_id, seconds, error, model, self._clock())

    def release(self, claim: Claim) -> bool:
        with transaction(self.engine) as connection:
            release = trials.release if claim.kind == "trial" else chores.release
            return release(connection, claim, self._clock())

    def reap(self) -> list[str]:
        """Also datasets and predictions whose work was lost; a transaction for each piece of work found."""
        now = self._clock()
        with glance(self.engine) as connection:
            late_trials = trials.expired(connection, now)
            late_chores = chores.expired(connection, now)
        touched = [job for job, number, token in late_trials if self._reap_trial(job, number, token)]
        touched += [claim.ref for claim in late_chores if self._reap_chore(claim)]
        return list(dict.fromkeys(touched))

    def request(self, job: str, verb: str) -> JobStatus:
        """Raises KeyError; ValueError, with words for a person, when the present status does not allow it."""
        with transaction(self.engine) as connection:
            return jobs.request(connection, job, verb, self._clock())

    # -- jobs -----------------------------------------------------------------------------------------------------

    def create_job(
        self,
        *,
        owner: str,
        name: str,
        dataset_id: str,
        request: Mapping[str, Any],
        resolved: Mapping[str, Any],
        spaces: Mapping[str, Space],
        limits: Limits,
        seed: int = 0,
        lane: str = "cpu",
        priority: int = 5,
        tags: Mapping[str, Any] | None = None,
        warnings: Sequence[Any] = (),
        traceparent: str | None = None,
        connection: Connection | None = None,
    ) -> str:
        """Id of a new job, queued.  resolved: `assay.spec.Resolved.to_json()`."""
        with self._writing(connection) as open_connection:
            return jobs.create(
                open_connection,
                self._clock(),
                owner=owner,
                name=name,
                dataset_id=dataset_id,
                request=request,
                resolved=resolved,
                spaces=spaces,
                limits=limits,
                seed=seed,
                lane=lane,
                priority=priority,
                tags=tags or {},
                warnings=warnings,
                traceparent=traceparent,
            )

    def reopen(self, job: str, limits: Limits | None = None) -> None:
        """Queue an ended job again; its trials stay.  Raises KeyError; ValueError when it has not ended."""
        with transaction(self.engine) as connection:
            jobs.reopen(connection, job, limits, self._clock())

    def update_job(
        self,
        job: str,
        *,
        limits: Limits | None = None,
        priority: int | None = None,
        name: str | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        """Change what a PATCH may; None leaves a field as it is.  Raises KeyError."""
        given = {"limits": limits, "priority": priority, "name": name, "tags": tags}
        values = {k: v for k, v in given.items() if v is not None}
        if values:
            with transaction(self.engine) as connection:
                jobs.update_job(connection, job, values, self._clock())

    def delete_job(self, job: str) -> None:
        """Delete a job with its trials and events; whoever works on it finds the claim lost.  Its models stay.

        The checkpoints go with the next `Storage.collect`.  Raises KeyError.
        """
        with transaction(self.engine) as connection:
            jobs.delete_job(connection, job, self._clock())
        self._snapshots.forget(job)

    def delete_dataset(self, dataset: str) -> None:
        """Raises KeyError; ValueError while a job that has not ended needs it."""
        with transaction(self.engine) as connection:
            jobs.delete_dataset(connection, dataset)

    def live(self, lane: str | None = None) -> list[str]:
        """Ids of the jobs to plan for, the most urgent and oldest first."""
        with glance(self.engine) as connection:
            return jobs.live(connection, lane)

    def events(self, job: str, after: int = 0, limit: int = 100) -> list[EventRow]:
        """Events with seq > after, in order."""
        with glance(self.engine) as connection:
            return jobs.events_after(connection, job, after, limit)

    def tell(self, job: str, type: str, **data: Any) -> None:
        """Add an event of one's own, for example a "warning".  Raises KeyError."""
        with transaction(self.engine) as connection:
            change = locked(connection, job, self._clock())
            change.tell(type, **data)
            change.write()

    def enter_phase(self, job: str, phase: Phase) -> None:
        """Raises KeyError."""
        with transaction(self.engine) as connection:
            change = locked(connection, job, self._clock())
            if change["phase"] != phase:
                change.enter(phase)
                change.write()

    # -- chores and workers ---------------------------------------------------------------------------------------

    def add_chore(
        self,
        kind: str,
        ref: str,
        *,
        number: int | None = None,
        lane: str = "cpu",
        priority: int = 5,
        connection: Connection | None = None,
    ) -> int:
        """Queue a "validate" (of a dataset) or a "predict" (of a prediction).  Returns its number.

        Builds are queued by `apply`.  Join the transaction that writes the row it serves, or a crash between the two
        leaves that row waiting for ever.
        """
        with self._writing(connection) as open_connection:
            return chores.add(open_connection, kind, ref, self._clock(), number, lane=lane, priority=priority)

    def finish_chore(self, claim: Claim, seconds: float, error: Mapping[str, Any] | None = None, **fields: Any) -> bool:
        """End a validation or a prediction, once, and write `fields` to the row it served.

        That row becomes ready or succeeded, with an error failed.  False: the claim is lost and nothing was written.
        """
        with transaction(self.engine) as connection:
            return chores.finish(connection, claim, seconds, error, fields, self._clock())

    def set_test_metrics(self, claim: Claim, metrics: Mapping[int, Mapping[str, float]]) -> bool:
        """What a build measured of trials (by number) on test rows.  False: the claim is lost."""
        with transaction(self.engine) as connection:
            return chores.set_test_metrics(connection, claim, metrics, self._clock())

    def beat(self, worker: str, *, lane: str, slots: int, busy: int, devices: Sequence[Any], version: str) -> None:
        """A worker says that it is alive.  One that says nothing for a lease's time does not count."""
        with transaction(self.engine) as connection:
            workers.beat(connection, worker, lane, slots, busy, devices, version, self._clock())

    def workers(self) -> list[WorkerRow]:
        """The workers alive now."""
        with glance(self.engine) as connection:
            return workers.alive(connection, self._clock())

    def forget_worker(self, worker: str) -> None:
        """A worker has stopped."""
        with transaction(self.engine) as connection:
            workers.forget(connection, worker)

    # -------------------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self, given: Connection | None) -> Iterator[Connection]:
        if given is not None:
            yield given
            return
        with transaction(self.engine) as connection:
            yield connection

    def _reap_trial(self, job: str, number: int, token: str) -> bool:
        with transaction(self.engine) as connection:
            try:
                change = locked(connection, job, self._clock())
            except KeyError:
                return False
            if not trials.reap(connection, change, number, token):
                return False
            change.write()
            return True

    def _reap_chore(self, claim: Claim) -> bool:
        with transaction(self.engine) as connection:
            now = self._clock()
            try:
                change = locked(connection, claim.ref, now) if claim.kind == "build" else None
            except KeyError:
                return False
            if not chores.reap(connection, change, claim, now):
                return False
            if change is not None:
                change.write()
            return True
