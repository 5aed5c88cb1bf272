"""The rows that claimed work reads and writes.  Every write is fenced by the claim's token in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, select, update

from app.clock import utc_now
from app.db.engine import transaction
from app.db.tables import ChoreRow, DatasetRow, JobRow, ModelRow, PredictionRow, TrialRow, WorkerRow
from app.ids import new_id
from app.storage import Blob
from app.store import SqlStore
from app.store_sql.change import locked
from assay.search.store import Claim

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class JobWork:
    """What training and building need of a job; never changes while the job exists."""

    name: str
    owner: str
    resolved: dict[str, Any]
    limits: dict[str, Any]
    formats: dict[str, Any]
    tables: tuple[
        tuple[int, str], ...
    ]  # (blob, sha256): the training rows, then the user's own validation and test rows


@dataclass(frozen=True)
class DatasetWork:
    blob: int
    sha256: str
    filename: str | None
    format: str | None
    overrides: dict[str, str]


@dataclass(frozen=True)
class Checkpoint:
    number: int
    family: str
    score: float
    blob: int
    sha256: str


@dataclass(frozen=True)
class PredictionWork:
    bundle_blob: int
    bundle_sha256: str
    table_blob: int
    table_sha256: str


def job_work(engine: Engine, job: str) -> JobWork:
    """Raises KeyError when the job, or its data, is gone."""
    query = (
        select(
            JobRow.name,
            JobRow.owner,
            JobRow.resolved,
            JobRow.limits,
            JobRow.request,
            DatasetRow.formats,
            DatasetRow.table_blob,
            DatasetRow.table_sha256,
        )
        .join(DatasetRow, DatasetRow.id == JobRow.dataset_id)
        .where(JobRow.id == job)
    )
    with transaction(engine, read_only=True) as connection:
        row = connection.execute(query).one_or_none()
        if row is None or row.table_blob is None:
            raise KeyError(job)
        tables = [(row.table_blob, row.table_sha256)]
        for role in ("validation_dataset_id", "test_dataset_id"):
            if row.request.get(role) is not None:
                other = select(DatasetRow.table_blob, DatasetRow.table_sha256).where(DatasetRow.id == row.request[role])
                found = connection.execute(other).one_or_none()
                if found is None or found.table_blob is None:
                    raise KeyError(row.request[role])
                tables.append((found.table_blob, found.table_sha256))
    return JobWork(row.name, row.owner, row.resolved, row.limits, row.formats or {}, tuple(tables))


def checkpoints(engine: Engine, job: str, limit: int, first: int = 0) -> list[Checkpoint]:
    """The best stored checkpoints, best first; the best of every family and the `first` of the job are among them whatever
    their rank."""
    query = (
        select(TrialRow.number, TrialRow.family, TrialRow.score, TrialRow.checkpoint_blob, TrialRow.checkpoint_sha256)
        .where(TrialRow.job_id == job, TrialRow.status == "completed", TrialRow.checkpoint_blob.is_not(None))
        .order_by(TrialRow.score.desc(), TrialRow.number)
    )
    with transaction(engine, read_only=True) as connection:
        found = [Checkpoint(*row) for row in connection.execute(query)]
    best_of_family = {c.family: c for c in reversed(found)}
    chosen = found[:limit]
    if limit > 1:
        chosen += [c for c in best_of_family.values() if c not in chosen]
    chosen += [c for c in sorted(found, key=lambda c: c.number)[:first] if c not in chosen]
    return chosen


def dataset_work(engine: Engine, dataset: str) -> DatasetWork:
    query = select(
        DatasetRow.content_blob,
        DatasetRow.sha256,
        DatasetRow.filename,
        DatasetRow.name,
        DatasetRow.format,
        DatasetRow.overrides,
    ).where(DatasetRow.id == dataset)
    with transaction(engine, read_only=True) as connection:
        row = connection.execute(query).one_or_none()
    if row is None or row.content_blob is None:
        raise KeyError(dataset)
    return DatasetWork(row.content_blob, row.sha256, row.filename or row.name, row.format, row.overrides or {})


def prediction_work(engine: Engine, prediction: str) -> PredictionWork:
    query = (
        select(ModelRow.bundle_blob, ModelRow.sha256, DatasetRow.table_blob, DatasetRow.table_sha256)
        .select_from(PredictionRow)
        .join(ModelRow, ModelRow.id == PredictionRow.model_id)
        .join(DatasetRow, DatasetRow.id == PredictionRow.dataset_id)
        .where(PredictionRow.id == prediction)
    )
    with transaction(engine, read_only=True) as connection:
        row = connection.execute(query).one_or_none()
    if row is None or row.bundle_blob is None or row.table_blob is None:
        raise KeyError(prediction)
    return PredictionWork(*row)


def dataset_ready(store: SqlStore, claim: Claim, found: Mapping[str, Any], table: Blob, seconds: float) -> bool:
    """The table was read: its shape, its columns, its warnings."""
    return store.finish_chore(
        claim,
        seconds,
        kind=found.get("kind", "table"),
        rows=found["rows"],
        format=found["format"],
        table_blob=table.id,
        table_sha256=table.sha256,
        columns=found["columns"],
        profile=found["profile"],
        formats=found["formats"],
        warnings=found["warnings"],
    )


def publish_model(
    store: SqlStore, claim: Claim, work: JobWork, built: Mapping[str, Any], bundle: Blob, graph: Blob, seconds: float
) -> bool:
    """The model's row and the end of its build, in one transaction: a model is visible only when it is whole."""
    manifest = built["manifest"]
    model = {
        "owner": work.owner,
        "name": work.name,
        "kind": manifest["kind"],
        "task": manifest["task"],
        "manifest": manifest,
        "score": built["score"],
        "bundle_blob": bundle.id,
        "onnx_blob": graph.id,
        "size_bytes": bundle.size,
        "sha256": bundle.sha256,
        "onnx_sha256": graph.sha256,
        "aliases": [],
        "description": "",
    }
    return store.finish_build(claim, new_id("mdl"), seconds, None, model)


def expire_leases(engine: Engine, lane: str) -> None:
    """End every lease of a lane: for a worker that knows it is the only one, so whoever held them is dead.

    The next reap queues the work again; attempts still count, so a trial that kills its worker cannot loop.
    """
    now = utc_now()
    with transaction(engine) as connection:
        in_lane = TrialRow.job_id.in_(select(JobRow.id).where(JobRow.lane == lane))
        connection.execute(update(TrialRow).where(in_lane, TrialRow.status == "running").values(lease_until=now))
        mine = (ChoreRow.lane == lane, ChoreRow.status == "running")
        connection.execute(update(ChoreRow).where(*mine).values(lease_until=now))
        connection.execute(update(WorkerRow).where(WorkerRow.lane == lane).values(seen_at=LONG_AGO))


def waiting(engine: Engine, lane: str) -> tuple[list[str], list[str]]:
    """Jobs that are under way and jobs that wait their turn, each the most urgent and oldest first."""
    query = select(JobRow.id, JobRow.status).where(
        JobRow.lane == lane, JobRow.status.in_(["queued", "running", "pausing", "cancelling", "finishing"])
    )
    with transaction(engine, read_only=True) as connection:
        found = connection.execute(query.order_by(JobRow.priority.desc(), JobRow.id)).all()
    return [r.id for r in found if r.status != "queued"], [r.id for r in found if r.status == "queued"]


def has_claimable(engine: Engine, lane: str) -> bool:
    """Whether some trial or chore of a lane waits to be claimed."""
    with transaction(engine, read_only=True) as connection:
        chore = select(ChoreRow.id).where(ChoreRow.lane == lane, ChoreRow.status == "queued").limit(1)
        claimable = (JobRow.lane == lane, JobRow.n_queued > 0, JobRow.status.in_(["queued", "running"]))
        trial = select(JobRow.id).where(*claimable).limit(1)
        return any(connection.execute(query).first() is not None for query in (chore, trial))


def warn(store: SqlStore, job: str, told: Sequence[Mapping[str, Any]]) -> None:
    """Add warnings to a job, each once, with an event."""
    with transaction(store.engine) as connection:
        change = locked(connection, job, utc_now())
        known = list(connection.scalar(select(JobRow.warnings).where(JobRow.id == job)) or [])
        new = [
            dict(w) for w in told if (w["code"], w["column"]) not in {(k.get("code"), k.get("column")) for k in known}
        ]
        if new:
            change.set(warnings=known + new)
            for w in new:
                change.tell("warning", **w)
            change.write()
