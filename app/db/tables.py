"""The rows.  One history of migrations serves SQLite and Postgres; times are UTC, ids are prefixed and time-ordered."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.db.types import Utc

Json = JSON(none_as_null=True)
BigId = BigInteger().with_variant(Integer, "sqlite")
OPEN = "status IN ('queued', 'running')"  # of partial indexes; queries must say it in the same words to use them

PENDING = "status = 'pending'"  # likewise


class Base(DeclarativeBase):
    """Base of all rows; constraint names are fixed so that migrations can name them."""


def table(row: type[Base]) -> Table:
    """The table behind a row class, for statements that need no objects."""
    return cast(Table, row.__table__)


Base.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class BlobRow(Base):
    """Content by SHA-256, in chunks.  sha256 is NULL while it is being written; unreferenced blobs are collected."""

    __tablename__ = "blobs"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    sha256: Mapped[str | None] = mapped_column(String(64), unique=True)
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(Utc)  # of the last write or the last equal upload
    __table_args__ = ({"sqlite_autoincrement": True},)  # an id is never given twice


class BlobChunkRow(Base):
    """One MiB of a blob."""

    __tablename__ = "blob_chunks"
    blob_id: Mapped[int] = mapped_column(BigId, ForeignKey("blobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class DatasetRow(Base):
    """One uploaded dataset.  content: the bytes as sent; table: the typed table read from them."""

    __tablename__ = "datasets"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(40), index=True)
    name: Mapped[str] = mapped_column(String(400))
    filename: Mapped[str | None] = mapped_column(String(400))
    format: Mapped[str | None] = mapped_column(String(40))
    media_type: Mapped[str | None] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(20))  # validating, ready, failed
    kind: Mapped[str] = mapped_column(String(20), default="table")
    version: Mapped[int] = mapped_column(Integer, default=1)
    rows: Mapped[int | None] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    sha256: Mapped[str | None] = mapped_column(String(64))
    content_blob: Mapped[int | None] = mapped_column(BigId, ForeignKey("blobs.id"), index=True)
    table_blob: Mapped[int | None] = mapped_column(BigId, ForeignKey("blobs.id"), index=True)
    table_sha256: Mapped[str | None] = mapped_column(String(64))
    columns: Mapped[list[Any]] = mapped_column(Json, default=list)  # the REST shape of a column
    profile: Mapped[dict[str, Any] | None] = mapped_column(Json)  # assay.data.profile.Profile.to_json
    formats: Mapped[dict[str, Any] | None] = mapped_column(Json)  # column -> ColumnFormat, as read
    overrides: Mapped[dict[str, str]] = mapped_column(Json, default=dict)  # column -> type set by a user
    warnings: Mapped[list[Any]] = mapped_column(Json, default=list)
    error: Mapped[dict[str, Any] | None] = mapped_column(Json)
    tags: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    created_at: Mapped[datetime] = mapped_column(Utc)
    updated_at: Mapped[datetime] = mapped_column(Utc)


class UploadRow(Base):
    """A resumable upload; `received` is the offset the client goes on from."""

    __tablename__ = "uploads"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(40), index=True)
    filename: Mapped[str] = mapped_column(String(400))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    status: Mapped[str] = mapped_column(String(20))  # open, complete, failed
    blob: Mapped[int | None] = mapped_column(BigId, ForeignKey("blobs.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(Utc)
    updated_at: Mapped[datetime] = mapped_column(Utc)


class JobRow(Base):
    """One request for a model.  Counters and the best trial are kept here so that one read answers a poll."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(40), index=True)
    name: Mapped[str] = mapped_column(String(400))
    dataset_id: Mapped[str] = mapped_column(String(40), index=True)  # no foreign key: a job outlives its dataset
    status: Mapped[str] = mapped_column(String(20))
    phase: Mapped[str] = mapped_column(String(20))
    stop_reason: Mapped[str | None] = mapped_column(String(30))
    lane: Mapped[str] = mapped_column(String(20), default="cpu")
    priority: Mapped[int] = mapped_column(Integer, default=5)
    seed: Mapped[int] = mapped_column(BigInteger, default=0)
    revision: Mapped[int] = mapped_column(BigInteger, default=0)  # one more with every change of the job or its trials
    event_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    request: Mapped[dict[str, Any]] = mapped_column(Json)
    resolved: Mapped[dict[str, Any]] = mapped_column(Json)  # assay.spec.Resolved.to_json
    spaces: Mapped[dict[str, Any]] = mapped_column(Json)  # family -> Space.to_json, frozen in
    limits: Mapped[dict[str, Any]] = mapped_column(Json)  # assay.search.plan.Limits as JSON
    warnings: Mapped[list[Any]] = mapped_column(Json, default=list)
    error: Mapped[dict[str, Any] | None] = mapped_column(Json)
    tags: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    exhausted: Mapped[bool] = mapped_column(Boolean, default=False)
    restarted_at: Mapped[int] = mapped_column(Integer, default=0)
    active_seconds: Mapped[float] = mapped_column(Float, default=0.0)
    active_since: Mapped[datetime | None] = mapped_column(Utc)
    n_queued: Mapped[int] = mapped_column(Integer, default=0)
    n_running: Mapped[int] = mapped_column(Integer, default=0)
    n_completed: Mapped[int] = mapped_column(Integer, default=0)
    n_stopped: Mapped[int] = mapped_column(Integer, default=0)
    n_failed: Mapped[int] = mapped_column(Integer, default=0)
    best_trial: Mapped[int | None] = mapped_column(Integer)
    best_score: Mapped[float | None] = mapped_column(Float)  # higher is better
    best_std: Mapped[float | None] = mapped_column(Float)
    model_id: Mapped[str | None] = mapped_column(String(40))  # the newest delivered model
    model_score: Mapped[float | None] = mapped_column(Float)
    traceparent: Mapped[str | None] = mapped_column(String(100))
    created_at: Mapped[datetime] = mapped_column(Utc)
    updated_at: Mapped[datetime] = mapped_column(Utc)
    started_at: Mapped[datetime | None] = mapped_column(Utc)
    finished_at: Mapped[datetime | None] = mapped_column(Utc)
    __table_args__ = (Index("ix_jobs_status_priority", "status", "priority", "id"),)


class TrialRow(Base):
    """One configuration of a job, claimed by a lease with a token."""

    __tablename__ = "trials"
    job_id: Mapped[str] = mapped_column(String(40), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    status: Mapped[str] = mapped_column(String(20))
    changed: Mapped[int] = mapped_column(BigInteger, default=0)  # the job's revision of the last change
    family: Mapped[str] = mapped_column(String(80))
    config: Mapped[dict[str, Any]] = mapped_column(Json)
    strategy: Mapped[str] = mapped_column(String(40))
    note: Mapped[str] = mapped_column(Text, default="")
    score: Mapped[float | None] = mapped_column(Float)
    score_std: Mapped[float | None] = mapped_column(Float)
    fold_scores: Mapped[list[Any]] = mapped_column(Json, default=list)
    curve: Mapped[list[Any]] = mapped_column(Json, default=list)  # [[step, score], ...]
    max_steps: Mapped[int] = mapped_column(Integer, default=1)
    metrics: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    test_metrics: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    fit_seconds: Mapped[float | None] = mapped_column(Float)
    predict_ms_per_row: Mapped[float | None] = mapped_column(Float)
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    device: Mapped[str | None] = mapped_column(String(40))
    worker: Mapped[str | None] = mapped_column(String(200))
    token: Mapped[str | None] = mapped_column(String(40))
    lease_until: Mapped[datetime | None] = mapped_column(Utc)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    reported_at: Mapped[datetime | None] = mapped_column(Utc)  # of the last report that became an event
    error: Mapped[dict[str, Any] | None] = mapped_column(Json)
    log: Mapped[str] = mapped_column(Text, default="")
    checkpoint_blob: Mapped[int | None] = mapped_column(BigId, ForeignKey("blobs.id"), index=True)
    checkpoint_sha256: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(Utc)
    started_at: Mapped[datetime | None] = mapped_column(Utc)
    finished_at: Mapped[datetime | None] = mapped_column(Utc)
    __table_args__ = (
        Index("ix_trials_open", "job_id", "number", postgresql_where=text(OPEN), sqlite_where=text(OPEN)),
        Index("ix_trials_changed", "job_id", "changed"),
    )


class ChoreRow(Base):
    """Work besides trials: "validate" a dataset, "build" a model, "predict" a batch.  Claimed like a trial."""

    __tablename__ = "chores"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    ref: Mapped[str] = mapped_column(String(40))  # id of the job, dataset or prediction it serves
    number: Mapped[int] = mapped_column(Integer, default=0)  # of a build: its number in the job
    final: Mapped[bool] = mapped_column(Boolean, default=False)
    after_trials: Mapped[int] = mapped_column(Integer, default=0)
    status: Mapped[str] = mapped_column(String(20))  # queued, running, done, failed
    lane: Mapped[str] = mapped_column(String(20), default="cpu")
    priority: Mapped[int] = mapped_column(Integer, default=5)
    worker: Mapped[str | None] = mapped_column(String(200))
    token: Mapped[str | None] = mapped_column(String(40))
    lease_until: Mapped[datetime | None] = mapped_column(Utc)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    seconds: Mapped[float | None] = mapped_column(Float)
    model_id: Mapped[str | None] = mapped_column(String(40))
    error: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(Utc)
    finished_at: Mapped[datetime | None] = mapped_column(Utc)
    __table_args__ = (
        UniqueConstraint("kind", "ref", "number"),
        Index("ix_chores_open", "lane", "priority", "id", postgresql_where=text(OPEN), sqlite_where=text(OPEN)),
        {"sqlite_autoincrement": True},
    )


class ModelRow(Base):
    """A delivered model: one bundle and the graph inside it."""

    __tablename__ = "models"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(40), index=True)
    job_id: Mapped[str] = mapped_column(String(40), index=True)  # no foreign key: a model outlives its job
    build: Mapped[int] = mapped_column(Integer)
    name: Mapped[str] = mapped_column(String(400))
    description: Mapped[str] = mapped_column(Text, default="")
    aliases: Mapped[list[Any]] = mapped_column(Json, default=list)
    kind: Mapped[str] = mapped_column(String(40))
    task: Mapped[str] = mapped_column(String(40))
    manifest: Mapped[dict[str, Any]] = mapped_column(Json)  # as in the bundle
    score: Mapped[float | None] = mapped_column(Float)
    bundle_blob: Mapped[int | None] = mapped_column(BigId, ForeignKey("blobs.id"), index=True)
    onnx_blob: Mapped[int | None] = mapped_column(BigId, ForeignKey("blobs.id"), index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    onnx_sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(Utc)


class EventRow(Base):
    """What happened to a job, numbered without gaps from 1."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[str] = mapped_column(String(40), ForeignKey("jobs.id", ondelete="CASCADE"))
    seq: Mapped[int] = mapped_column(BigInteger)
    type: Mapped[str] = mapped_column(String(60))
    data: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(Utc)
    __table_args__ = (UniqueConstraint("job_id", "seq"),)


class PredictionRow(Base):
    """A batch prediction over a stored dataset."""

    __tablename__ = "predictions"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(40), index=True)
    model_id: Mapped[str] = mapped_column(String(40))
    dataset_id: Mapped[str] = mapped_column(String(40))
    status: Mapped[str] = mapped_column(String(20))  # queued, running, succeeded, failed
    rows: Mapped[int | None] = mapped_column(BigInteger)
    result_blob: Mapped[int | None] = mapped_column(BigId, ForeignKey("blobs.id"), index=True)
    error: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(Utc)
    finished_at: Mapped[datetime | None] = mapped_column(Utc)


class ApiKeyRow(Base):
    """An API key, stored as a hash and shown once."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(40), index=True)
    name: Mapped[str] = mapped_column(String(200))
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    prefix: Mapped[str] = mapped_column(String(20))
    scopes: Mapped[list[Any]] = mapped_column(Json, default=list)
    expires_at: Mapped[datetime | None] = mapped_column(Utc)
    revoked_at: Mapped[datetime | None] = mapped_column(Utc)
    last_used_at: Mapped[datetime | None] = mapped_column(Utc)
    created_at: Mapped[datetime] = mapped_column(Utc)


class AuditRow(Base):
    """One request that changed something."""

    __tablename__ = "audit_events"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(40))
    key_id: Mapped[str | None] = mapped_column(String(40))
    action: Mapped[str] = mapped_column(String(80))
    method: Mapped[str] = mapped_column(String(10))
    path: Mapped[str] = mapped_column(String(400))
    status: Mapped[int] = mapped_column(Integer)
    request_id: Mapped[str | None] = mapped_column(String(100))
    address: Mapped[str | None] = mapped_column(String(100))
    created_at: Mapped[datetime] = mapped_column(Utc)
    __table_args__ = (Index("ix_audit_events_owner_id", "owner", "id"),)


class WebhookRow(Base):
    """An address that is told what happened.  The secret is kept as it is: every delivery is signed with it."""

    __tablename__ = "webhooks"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(40), index=True)
    url: Mapped[str] = mapped_column(String(2000))
    events: Mapped[str] = mapped_column(Text)  # app.store_sql.hooks.spelled
    description: Mapped[str] = mapped_column(String(400), default="")
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    secret: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime] = mapped_column(Utc)


class DeliveryRow(Base):
    """One event on its way to one webhook; written in the transaction of what it tells of."""

    __tablename__ = "deliveries"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(String(40))  # no foreign key: it may be deleted while an event is written
    event_id: Mapped[str] = mapped_column(String(40))
    type: Mapped[str] = mapped_column(String(60))
    payload: Mapped[dict[str, Any]] = mapped_column(Json)
    status: Mapped[str] = mapped_column(String(20))  # pending, delivered, failed
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    next_at: Mapped[datetime | None] = mapped_column(Utc)
    answer_status: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Utc)
    delivered_at: Mapped[datetime | None] = mapped_column(Utc)
    __table_args__ = (
        Index("ix_deliveries_webhook_id_id", "webhook_id", "id"),
        Index("ix_deliveries_pending", "next_at", postgresql_where=text(PENDING), sqlite_where=text(PENDING)),
    )


class IdempotencyRow(Base):
    """The stored answer to a POST with an Idempotency-Key; status 0 while the first one is still running."""

    __tablename__ = "idempotency"
    owner: Mapped[str] = mapped_column(String(40), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))  # SHA-256 of method, path, query and body
    status: Mapped[int] = mapped_column(Integer, default=0)
    headers: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Utc)


class WorkerRow(Base):
    """A worker that is (or was) alive: what GET /v1/system shows."""

    __tablename__ = "workers"
    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    lane: Mapped[str] = mapped_column(String(20))
    slots: Mapped[int] = mapped_column(Integer)
    busy: Mapped[int] = mapped_column(Integer, default=0)
    devices: Mapped[list[Any]] = mapped_column(Json, default=list)
    version: Mapped[str] = mapped_column(String(40))
    started_at: Mapped[datetime] = mapped_column(Utc)
    seen_at: Mapped[datetime] = mapped_column(Utc)
