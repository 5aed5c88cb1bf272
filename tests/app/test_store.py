"""Jobs as rows keep what every store keeps, and what the service promises beyond; on SQLite and on Postgres."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, func, insert, select

from app.db.engine import transaction
from app.db.tables import (
    BlobRow,
    ChoreRow,
    DatasetRow,
    EventRow,
    JobRow,
    ModelRow,
    PredictionRow,
    TrialRow,
    WorkerRow,
    table,
)
from app.ids import new_id
from app.storage import Storage
from app.store import SqlStore
from app.store_sql.jobs import Turn
from assay.search.lifecycle import ENDED, JobStatus, Phase, StopReason
from assay.search.plan import BuildModel, FinishJob, Limits
from assay.search.store import LEASE, MAX_ATTEMPTS, Ahead, Claim, Outcome, Started
from assay.search.trial import Proposal, Report, TrialStatus
from assay.space import Dimension, Float, Space
from assay.testing.stores import DONE, StoreSuite
from tests.app.conftest import Hands
from workers.rows import checkpoints

SPACE = Space((Dimension("a", Float(0.0, 1.0), 0.5),))
RESOLVED = {"strategy": "random", "kind": "binary", "n_rows": 90, "features": ["u", "v"], "n_classes": 2, "folds": 3}
MODEL = {
    "owner": "me",
    "name": "m",
    "kind": "binary",
    "task": "classification",
    "manifest": {},
    "aliases": [],
    "score": 0.9,
    "size_bytes": 1,
    "sha256": "0" * 64,
    "onnx_sha256": "1" * 64,
}


def new_job(store: SqlStore, **changes: Any) -> str:
    values: dict[str, Any] = {"owner": "me", "name": "j", "dataset_id": "ds_1", "request": {}, "resolved": RESOLVED}
    return store.create_job(**{**values, "spaces": {"x": SPACE}, "limits": Limits()} | changes)


def queue(store: SqlStore, job: str, n: int) -> None:
    proposals = tuple(Proposal("x", {"a": i / 10}) for i in range(n))
    assert store.apply(job, store.snapshot(job).revision, [Started(proposals, "random")])


def take(store: SqlStore, worker: str = "w", lane: str = "cpu") -> Claim:
    claim = store.claim(worker, lane, 0)
    assert claim is not None
    return claim


def scored(score: float, **changes: Any) -> Outcome:
    return Outcome(TrialStatus.COMPLETED, score=score, seconds=1.0, **changes)


def row_of(engine: Engine, row: Any, **where: Any) -> Any:
    with transaction(engine, read_only=True) as connection:
        return connection.execute(select(table(row)).filter_by(**where)).one()


def add(engine: Engine, row: Any, **values: Any) -> None:
    with transaction(engine) as connection:
        connection.execute(insert(row).values(**values))


def types(store: SqlStore, job: str) -> list[str]:
    return [e.type for e in store.events(job, limit=10_000)]


@pytest.fixture
def store(engine: Engine, clock: Hands) -> SqlStore:
    return SqlStore(engine, clock)


class TestSqlStore(StoreSuite):
    @pytest.fixture(autouse=True)
    def prepared(self, engine: Engine, clock: Hands) -> None:
        self.engine, self.clock = engine, clock

    def make(self, limits: Limits | None = None) -> tuple[SqlStore, str]:
        store = SqlStore(self.engine, self.clock)
        return store, new_job(store, limits=limits or Limits())

    def add(self, store: SqlStore) -> str:
        return new_job(store)

    def pass_time(self, seconds: float) -> None:
        self.clock.turn(seconds)


# -- jobs -------------------------------------------------------------------------------------------------------------


def test_a_snapshot_holds_what_the_job_was_made_with(store: SqlStore) -> None:
    limits = Limits(time_seconds=60, trials=7, target_score=-1.5)
    job = new_job(store, limits=limits, seed=41, lane="gpu")
    snapshot = store.snapshot(job)
    assert (snapshot.status, snapshot.seed, snapshot.lane, snapshot.strategy) == (JobStatus.QUEUED, 41, "gpu", "random")
    assert snapshot.limits == limits and snapshot.spaces == {"x": SPACE} and snapshot.ensemble
    known = {"kind": "binary", "n_rows": 90, "n_features": 2, "n_classes": 2, "n_folds": 3}
    assert snapshot.facts == known | {"perfect": None, "side": 0, "refit": 0.0, "worth": 0.0, "chars": 0.0}
    assert types(store, job) == ["job.created"]


def test_a_hold_out_is_one_fold_however_small_the_part_that_judges(store: SqlStore) -> None:
    job = new_job(store, resolved={**RESOLVED, "method": "holdout", "folds": 6})
    facts = store.snapshot(job).facts
    assert facts is not None and facts["n_folds"] == 1


def test_urgent_jobs_go_first(store: SqlStore) -> None:
    jobs = {priority: new_job(store, priority=priority) for priority in (5, 1, 10)}
    for job in jobs.values():
        queue(store, job, 2)
    assert [take(store).ref for _ in range(6)] == [jobs[p] for p in (10, 10, 5, 5, 1, 1)]


def test_a_changed_priority_counts_at_the_next_claim(store: SqlStore) -> None:
    first, second = new_job(store), new_job(store)
    queue(store, first, 1)
    queue(store, second, 1)
    store.update_job(second, priority=9, name="renamed", tags={"a": "b"})
    assert take(store).ref == second
    assert store.live() == [second, first]
    (updated,) = [e for e in store.events(second) if e.type == "job.updated"]
    assert updated.data == {"fields": ["name", "priority", "tags"]}


def test_slots_are_those_of_the_workers_alive_in_the_lane(store: SqlStore, clock: Hands) -> None:
    job = new_job(store)
    assert store.snapshot(job).slots == 1
    for name, lane, slots in (("a", "cpu", 2), ("b", "cpu", 3), ("g", "gpu", 8)):
        store.beat(name, lane=lane, slots=slots, busy=0, devices=[], version="1")
    assert store.snapshot(job).slots == 5
    clock.turn(LEASE - 1)
    store.beat("a", lane="cpu", slots=2, busy=1, devices=[{"kind": "cpu"}], version="1")
    clock.turn(2)
    assert store.snapshot(job).slots == 2
    assert [(w.id, w.busy) for w in store.workers()] == [("a", 1)]
    store.forget_worker("a")
    assert store.workers() == [] and store.snapshot(job).slots == 1


def test_workers_silent_for_a_day_are_forgotten(store: SqlStore, engine: Engine, clock: Hands) -> None:
    store.beat("old", lane="cpu", slots=1, busy=0, devices=[], version="1")
    clock.turn(90_000)
    store.beat("new", lane="cpu", slots=1, busy=0, devices=[], version="1")
    assert row_of(engine, WorkerRow).id == "new"


def test_time_counts_only_while_a_job_is_active(store: SqlStore, engine: Engine, clock: Hands) -> None:
    job = new_job(store)
    queue(store, job, 3)
    clock.turn(100)  # nobody works on it yet
    assert store.snapshot(job).elapsed == 0
    claim = take(store)
    clock.turn(4)
    store.request(job, "pause")
    clock.turn(2)
    store.release(claim)
    store.apply(job, store.snapshot(job).revision, [FinishJob(JobStatus.PAUSED)])
    clock.turn(500)
    assert store.snapshot(job).elapsed == pytest.approx(6)
    store.request(job, "resume")
    clock.turn(500)
    take(store)
    clock.turn(1)
    assert store.snapshot(job).elapsed == pytest.approx(7)
    row = row_of(engine, JobRow, id=job)
    assert (row.started_at - row.created_at).total_seconds() == pytest.approx(100)
    assert row.started_at.tzinfo is not None


def test_the_best_trial_is_kept_whatever_the_order(store: SqlStore, engine: Engine) -> None:
    job = new_job(store)
    queue(store, job, 5)
    claims = [take(store) for _ in range(5)]
    for n, score in ((3, 0.5), (2, math.nan), (1, 0.5), (4, 0.4), (0, 0.6)):
        assert store.finish(claims[n], scored(score))
    row = row_of(engine, JobRow, id=job)
    assert (row.best_trial, row.best_score, row.n_completed) == (0, 0.6, 5)
    improved = [e.data["trial"] for e in store.events(job) if e.type == "best.improved"]
    assert improved == [3, 0]
    assert row_of(engine, TrialRow, job_id=job, number=2).score is None


def test_an_earlier_trial_with_the_same_score_is_the_best_one(store: SqlStore, engine: Engine) -> None:
    job = new_job(store)
    queue(store, job, 2)
    first, second = take(store), take(store)
    store.finish(second, scored(0.5))
    store.finish(first, scored(0.5))
    assert row_of(engine, JobRow, id=job).best_trial == 0


def test_a_trial_row_keeps_all_of_its_outcome(store: SqlStore, engine: Engine, clock: Hands) -> None:
    blob = Storage(engine, clock).put(b"checkpoint")
    job = new_job(store)
    queue(store, job, 1)
    outcome = scored(
        0.25,
        score_std=0.5,
        fold_scores=(0.1, 0.4),
        curve=(Report(1, 0.1), Report(9, math.nan)),
        max_steps=9,
        metrics={"rmse": 3.0},
        predict_ms_per_row=0.01,
        size_bytes=5,
        device="cuda:0",
        log="a\0b",
        artifact=str(blob.id),
    )
    assert store.finish(take(store, "worker-7"), outcome)
    row = row_of(engine, TrialRow, job_id=job)
    assert (row.status, row.score, row.score_std, row.fold_scores) == ("completed", 0.25, 0.5, [0.1, 0.4])
    assert (row.curve, row.max_steps, row.metrics) == ([[1, 0.1], [9, None]], 9, {"rmse": 3.0})
    assert (row.predict_ms_per_row, row.size_bytes, row.device, row.log) == (0.01, 5, "cuda:0", "ab")
    assert (row.checkpoint_blob, row.checkpoint_sha256) == (blob.id, blob.sha256)
    assert (row.worker, row.attempt, row.token) == ("worker-7", 1, None)
    curve = store.snapshot(job).trials[0].curve
    assert curve[0] == Report(1, 0.1) and math.isnan(curve[1].score)


def ahead(store: SqlStore, job: str, n: int = 1) -> Ahead:
    proposals = tuple(Proposal("x", {"a": i / 100}) for i in range(n))
    return Ahead(store.snapshot(job).revision, (Started(proposals, "random", (4,) * n),), None, True)


def test_a_turn_writes_the_end_and_what_follows_and_goes_on_in_one_stroke(store: SqlStore, engine: Engine) -> None:
    job = new_job(store)
    queue(store, job, 1)
    claim, plans = take(store, "worker-7"), ahead(store, job, 2)
    before = store.snapshot(job).revision
    turn = store.turn(claim, scored(0.5), b"checkpoint", plans)
    assert turn is not None and turn.written and turn.claim is not None
    assert (turn.claim.ref, turn.claim.number, turn.claim.worker) == (job, 1, "worker-7")
    assert turn.claim.payload == {"family": "x", "config": {"a": 0.0}, "attempt": 1, "max_steps": 4}
    assert store.snapshot(job).revision == before + 1
    assert [t.status.value for t in store.snapshot(job).trials] == ["completed", "running", "queued"]
    assert types(store, job)[-3:] == ["trial.completed", "best.improved", "trial.started"]
    assert store.renew(turn.claim) and take(store).number == 2
    row = row_of(engine, TrialRow, job_id=job, number=0)
    assert Storage(engine).read(row.checkpoint_blob) == b"checkpoint"
    assert Storage(engine).get(row.checkpoint_blob).sha256 == row.checkpoint_sha256
    check(engine, store, job)


def test_a_turn_thought_out_before_the_job_changed_writes_nothing(store: SqlStore, engine: Engine) -> None:
    job = new_job(store)
    queue(store, job, 3)
    claim, plans = take(store), ahead(store, job)
    other = take(store)
    before = store.snapshot(job)
    assert store.turn(claim, scored(0.5), b"checkpoint", plans) is None
    assert store.snapshot(job).trials == before.trials and store.snapshot(job).revision == before.revision
    with transaction(engine, read_only=True) as connection:
        assert connection.scalar(select(func.count()).select_from(table(BlobRow))) == 0
    assert store.turn(claim, scored(0.5), b"checkpoint", ahead(store, job)) == Turn(True)  # trial 2 is next
    assert store.turn(claim, scored(0.9), b"again", ahead(store, job)) == Turn(False)
    assert store.finish(other, scored(0.1))
    check(engine, store, job)


def test_equal_checkpoints_are_stored_once_whoever_writes_them(store: SqlStore, engine: Engine, clock: Hands) -> None:
    blob = Storage(engine, clock).put(b"checkpoint")
    job = new_job(store)
    queue(store, job, 2)
    for score in (0.1, 0.2):
        assert store.turn(take(store), scored(score), b"checkpoint") == Turn(True)
    assert {row_of(engine, TrialRow, job_id=job, number=n).checkpoint_blob for n in (0, 1)} == {blob.id}
    assert Storage(engine).read(blob.id) == b"checkpoint"


def test_a_build_gets_the_best_checkpoints_and_if_asked_the_first_ones_of_the_job(store: SqlStore) -> None:
    job = new_job(store)
    queue(store, job, 5)
    for score in (0.1, 0.2, 0.5, 0.4, 0.3):
        assert store.turn(take(store), scored(score), b"checkpoint") == Turn(True)
    assert [c.number for c in checkpoints(store.engine, job, 2)] == [2, 3]
    assert [c.number for c in checkpoints(store.engine, job, 2, first=3)] == [2, 3, 0, 1]


@pytest.mark.parametrize("waits", ["chore", "job", "build"])
def test_a_worker_goes_on_only_while_nobody_else_waits(waits: str, store: SqlStore) -> None:
    job = new_job(store)
    queue(store, job, 1)
    claim = take(store)
    plans = ahead(store, job)
    if waits == "chore":
        store.add_chore("validate", "ds_1")
    elif waits == "job":
        queue(store, new_job(store), 1)
    else:
        plans = replace(plans, decisions=(BuildModel(False), *plans.decisions))
    assert store.turn(claim, scored(0.5), None, plans) == Turn(True)
    assert take(store).kind == {"chore": "validate", "job": "trial", "build": "build"}[waits]


def test_work_of_another_lane_keeps_nobody_from_going_on(store: SqlStore) -> None:
    job = new_job(store)
    queue(store, job, 1)
    claim = take(store)
    store.add_chore("predict", "prd_1", lane="gpu")
    queue(store, new_job(store, lane="gpu"), 1)
    turn = store.turn(claim, scored(0.5), None, ahead(store, job))
    assert turn is not None and turn.claim is not None and turn.claim.ref == job


def test_a_job_that_is_cancelled_meanwhile_gets_no_new_trials(store: SqlStore) -> None:
    job = new_job(store)
    queue(store, job, 1)
    claim, plans = take(store), ahead(store, job)
    store.request(job, "cancel")
    assert store.turn(claim, scored(0.5), None, plans) is None
    assert store.turn(claim, scored(0.5)) == Turn(True)
    assert len(store.snapshot(job).trials) == 1


def test_deleting_a_job_takes_its_trials_and_lets_its_blobs_go(store: SqlStore, engine: Engine, clock: Hands) -> None:
    storage = Storage(engine, clock)
    job, other = new_job(store), new_job(store)
    blob = storage.put(b"checkpoint")
    queue(store, job, 2)
    queue(store, other, 1)
    assert store.finish(take(store), scored(1.0, artifact=str(blob.id)))
    store.apply(job, store.snapshot(job).revision, [BuildModel(False)])
    build = take(store)
    clock.turn(7200)
    assert storage.collect() == 0
    store.delete_job(job)
    assert not store.renew(build)
    assert not store.finish_build(build, None, 1.0, None)
    with pytest.raises(KeyError):
        store.snapshot(job)
    with pytest.raises(KeyError):
        store.delete_job(job)
    with transaction(engine, read_only=True) as connection:
        for row, left in ((TrialRow, 1), (EventRow, 2), (ChoreRow, 0), (JobRow, 1)):
            assert connection.scalar(select(func.count()).select_from(table(row))) == left, row
    assert storage.collect() == 1
    assert take(store).ref == other


def dataset(engine: Engine, clock: Hands, **changes: Any) -> str:
    made = new_id("ds")
    row = {"id": made, "owner": "me", "name": "d", "status": "validating", "created_at": clock(), "updated_at": clock()}
    add(engine, DatasetRow, **row | changes)
    return made


def test_a_dataset_is_deleted_unless_a_job_still_needs_it(store: SqlStore, engine: Engine, clock: Hands) -> None:
    made = dataset(engine, clock, content_blob=Storage(engine, clock).put(b"1,2").id)
    job = new_job(store, dataset_id=made)
    with pytest.raises(ValueError, match=job):
        store.delete_dataset(made)
    queue(store, job, 0)
    store.apply(job, store.snapshot(job).revision, [FinishJob(JobStatus.FAILED)])
    store.delete_dataset(made)
    with pytest.raises(KeyError):
        store.delete_dataset(made)
    assert store.snapshot(job).status is JobStatus.FAILED  # a job outlives its dataset


# -- events -----------------------------------------------------------------------------------------------------------


def test_events_tell_the_whole_story_without_gaps(store: SqlStore, engine: Engine, clock: Hands) -> None:
    job = new_job(store, limits=Limits(trials=2))
    queue(store, job, 2)
    first, second = take(store), take(store)
    store.report(first, Report(1, 0.1))
    store.finish(first, scored(0.7))
    store.finish(second, Outcome(TrialStatus.FAILED, error={"code": "diverged", "message": "NaN", "traceback": "…"}))
    store.apply(job, store.snapshot(job).revision, [BuildModel(True)])
    build = take(store)
    store.enter_phase(job, Phase.PACKAGING)
    store.enter_phase(job, Phase.PACKAGING)
    store.tell(job, "warning", code="odd", message="look")
    model = new_id("mdl")
    assert store.finish_build(build, model, 2.0, None, MODEL)
    store.apply(job, store.snapshot(job).revision, [FinishJob(JobStatus.SUCCEEDED, StopReason.TRIAL_LIMIT)])
    events = store.events(job)
    assert [e.type for e in events] == [
        "job.created", "job.phase", "job.started", "trial.started", "trial.started", "trial.report",
        "trial.completed", "best.improved", "trial.failed", "job.phase", "build.started", "job.phase", "warning",
        "build.done", "model.ready", "job.succeeded",
    ]  # fmt: skip
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert events[8].data["error"] == {"code": "diverged", "message": "NaN"}
    assert events[-1].data == {"stop_reason": "trial_limit", "error": None, "model_id": model}
    row = row_of(engine, JobRow, id=job)
    assert (row.status, row.stop_reason, row.phase) == ("succeeded", "trial_limit", "packaging")
    assert (row.model_id, row.model_score, row.finished_at) == (model, 0.9, clock())
    assert row_of(engine, ModelRow).job_id == job
    assert [e.seq for e in store.events(job, after=3, limit=2)] == [4, 5]


def test_reports_become_two_events_a_second_at_most(store: SqlStore, clock: Hands) -> None:
    job = new_job(store)
    queue(store, job, 2)
    first, second = take(store), take(store)
    for step in range(50):  # 5 seconds
        for claim in (first, second):
            assert store.report(claim, Report(step, 0.5))
        clock.turn(0.1)
    events = [e.data["trial"] for e in store.events(job, limit=500) if e.type == "trial.report"]
    assert events.count(0) == events.count(1) == 10
    assert len(store.snapshot(job).trials[0].curve) == 50


def test_pausing_resuming_and_reopening_are_told(store: SqlStore) -> None:
    job = new_job(store)
    store.request(job, "pause")
    store.request(job, "resume")
    queue(store, job, 1)
    claim = take(store)
    store.request(job, "pause")
    store.request(job, "resume")
    store.request(job, "cancel")
    store.release(claim)
    store.apply(job, store.snapshot(job).revision, [FinishJob(JobStatus.CANCELLED)])
    store.reopen(job)
    told = [t for t in types(store, job) if t.startswith("job.") and t not in ("job.created", "job.phase")]
    assert told == [
        "job.paused", "job.resumed", "job.started", "job.pausing", "job.resumed", "job.cancelling", "job.cancelled",
        "job.reopened",
    ]  # fmt: skip


def test_a_job_ends_once_when_many_try(store: SqlStore, engine: Engine, clock: Hands) -> None:
    job = new_job(store)
    queue(store, job, 1)
    store.finish(take(store), DONE)
    revision = store.snapshot(job).revision
    stores = [SqlStore(engine, clock) for _ in range(6)]
    end = [FinishJob(JobStatus.SUCCEEDED, StopReason.TIME_LIMIT)]
    with ThreadPoolExecutor(6) as pool:
        ended = list(pool.map(lambda s: s.apply(job, revision, end), stores))
    assert sum(ended) == 1
    assert types(store, job).count("job.succeeded") == 1


# -- chores -----------------------------------------------------------------------------------------------------------


def test_a_validation_goes_first_and_writes_its_dataset(store: SqlStore, engine: Engine, clock: Hands) -> None:
    job = new_job(store, priority=10)
    queue(store, job, 1)
    made = dataset(engine, clock)
    store.add_chore("validate", made)
    claim = take(store)
    assert (claim.kind, claim.ref, claim.number) == ("validate", made, 0)
    assert store.renew(claim)
    clock.turn(5)
    assert store.finish_chore(claim, 5.0, rows=12, profile={"n": 12})
    assert not store.finish_chore(claim, 5.0, rows=13)
    row = row_of(engine, DatasetRow, id=made)
    assert (row.status, row.rows, row.profile, row.error, row.updated_at) == ("ready", 12, {"n": 12}, None, clock())
    assert store.add_chore("validate", made) == 1  # the next version
    again = take(store)
    assert store.finish_chore(again, 1.0, {"code": "unsupported_format", "message": "no"})
    row = row_of(engine, DatasetRow, id=made)
    assert (row.status, row.error["code"]) == ("failed", "unsupported_format")


def test_a_chore_is_added_together_with_the_row_it_serves_or_not_at_all(store: SqlStore, engine: Engine) -> None:
    class Crash(Exception):
        pass

    def make(connection: Connection) -> None:
        store.add_chore("validate", "ds_1", connection=connection)
        raise Crash

    with pytest.raises(Crash), transaction(engine) as connection:
        make(connection)
    assert store.claim("w", "cpu", 0) is None


def test_work_nobody_survives_fails_what_it_served(store: SqlStore, engine: Engine, clock: Hands) -> None:
    made = dataset(engine, clock)
    prediction = {"id": "prd_1", "owner": "me", "model_id": "mdl_1", "dataset_id": made, "status": "queued"}
    add(engine, PredictionRow, **prediction, created_at=clock())
    for kind, ref in (("validate", made), ("predict", "prd_1")):
        store.add_chore(kind, ref)
        for attempt in range(MAX_ATTEMPTS):
            claim = take(store)
            assert claim.kind == kind and claim.payload["attempt"] == attempt + 1
            clock.turn(LEASE + 1)
            assert store.reap() == [ref]
            assert not store.finish_chore(claim, 1.0)
        assert store.claim("w", "cpu", 0) is None
    assert row_of(engine, DatasetRow).error["code"] == "worker_lost"
    row = row_of(engine, PredictionRow)
    assert (row.status, row.error["code"], row.finished_at) == ("failed", "worker_lost", clock())


def test_a_prediction_follows_its_chore(store: SqlStore, engine: Engine, clock: Hands) -> None:
    prediction = {"id": "prd_1", "owner": "me", "model_id": "mdl_1", "dataset_id": "ds_1", "status": "queued"}
    add(engine, PredictionRow, **prediction, created_at=clock())
    store.add_chore("predict", "prd_1", priority=9)
    claim = take(store)
    assert row_of(engine, PredictionRow).status == "running"
    assert store.release(claim)
    assert row_of(engine, PredictionRow).status == "queued"
    blob = Storage(engine, clock).put(b"result")
    assert store.finish_chore(take(store), 1.0, rows=3, result_blob=blob.id)
    row = row_of(engine, PredictionRow)
    assert (row.status, row.rows, row.result_blob) == ("succeeded", 3, blob.id)


def test_chores_go_by_priority_then_age_and_only_in_their_lane(store: SqlStore) -> None:
    for ref, priority, lane in (("ds_a", 5, "cpu"), ("ds_b", 9, "cpu"), ("ds_c", 5, "cpu"), ("ds_d", 10, "gpu")):
        store.add_chore("validate", ref, priority=priority, lane=lane)
    assert [take(store).ref for _ in range(3)] == ["ds_b", "ds_a", "ds_c"]
    assert store.claim("w", "cpu", 0) is None
    assert take(store, lane="gpu").ref == "ds_d"


def test_only_known_kinds_are_chores(store: SqlStore) -> None:
    with pytest.raises(ValueError, match="validate, build, predict"):
        store.add_chore("dance", "ds_1")


def test_a_lost_build_leaves_no_model_behind(store: SqlStore, engine: Engine, clock: Hands) -> None:
    job = new_job(store)
    queue(store, job, 1)
    store.finish(take(store), DONE)
    store.apply(job, store.snapshot(job).revision, [BuildModel(True)])
    lost = take(store)
    clock.turn(LEASE + 1)
    store.reap()
    kept = take(store)
    assert not store.finish_build(lost, "mdl_lost", 1.0, None, MODEL)
    assert not store.set_test_metrics(lost, {0: {"roc_auc": 0.1}})
    assert store.set_test_metrics(kept, {0: {"roc_auc": 0.8}})
    assert store.finish_build(kept, "mdl_kept", 1.0, None, MODEL)
    assert row_of(engine, ModelRow).id == "mdl_kept"
    assert row_of(engine, TrialRow).test_metrics == {"roc_auc": 0.8}
    (build,) = store.snapshot(job).builds
    assert (build.model_id, build.status, build.final) == ("mdl_kept", "done", True)


# -- many at once -----------------------------------------------------------------------------------------------------


def test_eight_workers_on_many_jobs_do_everything_once(engine: Engine) -> None:
    main = SqlStore(engine)
    jobs = [new_job(main) for _ in range(4)]
    for job in jobs:
        queue(main, job, 12)
        main.add_chore("validate", job)
    seen: list[tuple[str, str, int]] = []
    errors: list[BaseException] = []

    def work(name: str) -> None:
        store = SqlStore(engine)
        try:
            while (claim := store.claim(name, "cpu", 0)) is not None:
                seen.append((claim.kind, claim.ref, claim.number))
                if claim.kind == "trial":
                    store.report(claim, Report(1, 0.5))
                    assert store.finish(claim, DONE)
                else:
                    assert store.finish_chore(claim, 0.1)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    wanted = [("trial", job, n) for job in jobs for n in range(12)] + [("validate", job, 0) for job in jobs]
    assert sorted(seen) == sorted(wanted)
    for job in jobs:
        check(engine, main, job)


def test_verbs_and_workers_at_once_leave_the_books_balanced(engine: Engine) -> None:
    """Deadlocks and lost counts would show here: everybody writes to the same job in another order."""
    main = SqlStore(engine)
    job = new_job(main)
    queue(main, job, 60)
    stop = threading.Event()
    errors: list[BaseException] = []

    def guarded(work: Callable[[SqlStore], None]) -> Callable[[], None]:
        def run() -> None:
            store = SqlStore(engine)
            try:
                while not stop.is_set():
                    work(store)
            except BaseException as error:
                errors.append(error)
                stop.set()

        return run

    def worker(store: SqlStore) -> None:
        claim = store.claim("w", "cpu", 0)
        if claim is None:
            stop.wait(0.005)
        elif store.report(claim, Report(1, 0.5)):
            store.finish(claim, DONE)
        else:
            store.release(claim)

    def pauser(store: SqlStore) -> None:
        store.request(job, "pause")
        store.reap()
        store.request(job, "resume")
        stop.wait(0.002)

    threads = [threading.Thread(target=guarded(w)) for w in (worker, worker, worker, pauser)]
    for thread in threads:
        thread.start()
    stop.wait(1.5)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert not errors
    check(engine, main, job)


def check(engine: Engine, store: SqlStore, job: str) -> None:
    """The books of a job balance: counters, events, and what a fresh process would read."""
    row = row_of(engine, JobRow, id=job)
    counted = {"queued": row.n_queued, "running": row.n_running, "completed": row.n_completed}
    counted |= {"stopped": row.n_stopped, "failed": row.n_failed}
    snapshot = store.snapshot(job)
    fresh = SqlStore(engine, store._clock).snapshot(job)
    assert replace(snapshot, elapsed=0.0) == replace(fresh, elapsed=0.0)  # what was remembered is what is there
    statuses = [t.status.value for t in fresh.trials]
    assert counted == {name: statuses.count(name) for name in counted}
    assert [t.number for t in fresh.trials] == list(range(len(statuses)))
    events = store.events(job, limit=100_000)
    assert [e.seq for e in events] == list(range(1, row.event_seq + 1))
    scores = {t.number: t.score for t in fresh.completed if t.score is not None}
    best = max(scores, key=lambda n: (scores[n], -n)) if scores else None
    assert (row.best_trial, row.best_score) == (best, scores.get(best) if best is not None else None)
    ended = [e for e in events if e.type in {f"job.{s}" for s in ENDED}]
    reopened = sum(e.type == "job.reopened" for e in events)
    assert len(ended) == reopened + (snapshot.status in ENDED)


@pytest.fixture
def big(engine: Engine, clock: Hands) -> Iterator[tuple[SqlStore, str]]:
    store = SqlStore(engine, clock)
    job = new_job(store, limits=Limits(time_seconds=None, trials=9999))
    row = {"job_id": job, "status": "completed", "family": "x", "config": {"a": 0.5}, "strategy": "random", "note": ""}
    row |= {"score": 0.5, "fold_scores": [0.5], "curve": [[1, 0.5]], "created_at": clock(), "changed": 1}
    with transaction(engine) as connection:
        connection.execute(insert(table(TrialRow)).inline(), [{**row, "number": n} for n in range(5000)])
        jobs = table(JobRow)
        connection.execute(jobs.update().where(jobs.c.id == job).values(n_completed=5000, best_trial=0, best_score=0.5))
    yield store, job


def test_with_thousands_of_trials_only_the_news_are_read(
    big: tuple[SqlStore, str], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.store_sql import snapshots

    store, job = big
    assert len(store.snapshot(job).trials) == 5000
    read: list[int] = []
    plain = snapshots.trial_of

    def counted(row: Any) -> Any:
        read.append(row.number)
        return plain(row)

    monkeypatch.setattr(snapshots, "trial_of", counted)
    queue(store, job, 2)
    read.clear()
    store.finish(take(store), DONE)
    assert len(store.snapshot(job).trials) == 5002
    assert sorted(read) == [5000, 5001]
    read.clear()
    store.snapshot(job)
    assert read == [5001]
    check(engine, store, job)


def test_a_worker_may_stop_the_clock_without_losing_its_row(store: SqlStore, clock: Hands, engine: Engine) -> None:
    """A heartbeat after exactly the lease's time is still in time, if nobody reaped: the token decides, not the clock."""
    job = new_job(store)
    queue(store, job, 1)
    claim = take(store)
    clock.now += timedelta(seconds=LEASE * 10)
    assert store.renew(claim)
    assert store.reap() == []
    assert store.finish(claim, DONE)
    assert row_of(engine, TrialRow, job_id=job).status == "completed"
