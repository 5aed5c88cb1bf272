"""`/v1/usage`: what an owner has stored here and how much was computed for them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from sqlalchemy import Connection, func, select
from starlette.responses import Response

from app import answers
from app.answers import time
from app.db.engine import transaction
from app.db.tables import DatasetRow, JobRow, ModelRow, PredictionRow, TrialRow
from app.deps import Caller, Live
from app.describe import answers as described
from app.errors import ApiError, Fault
from app.route import Route
from app.schemas import Answer, Moment, Time

router = APIRouter(route_class=Route, tags=["accounts"])


class Stored(Answer):
    count: int
    bytes: int


class JobsUsed(Answer):
    count: int
    active_seconds: float
    trials: int
    trial_seconds: float


class PredictionsUsed(Answer):
    count: int
    rows: int


class Usage(Answer):
    """Of what is still there: deleted datasets, jobs and models no longer count."""

    object: Literal["usage"]
    since: Time | None
    datasets: Stored
    models: Stored
    jobs: JobsUsed
    predictions: PredictionsUsed


@router.get("/v1/usage", summary="What was stored and computed", responses=described(Usage))
def usage(
    services: Live,
    caller: Caller,
    since: Annotated[Moment | None, Query(description="Only what was made at or after this time.")] = None,
) -> Response:
    """Totals over the caller's own datasets, models, jobs and batch predictions."""
    if since is not None and since.tzinfo is None:
        message = "write the time with its zone, like 2026-01-31T12:00:00Z"
        raise ApiError("validation_error", f"?since: {message}", errors=[Fault("?since", "no_time_zone", message)])
    with transaction(services.engine, read_only=True) as connection:
        return answers.json(totals(connection, caller.owner, since))


def totals(connection: Connection, owner: str, since: datetime | None) -> dict[str, Any]:
    """The sums, from the rows."""

    def mine(row: Any) -> list[Any]:
        return [row.owner == owner, *([] if since is None else [row.created_at >= since])]

    def read(*columns: Any, of: Any) -> list[Any]:
        row = connection.execute(select(*columns).where(*mine(of))).one()
        return [v or 0 for v in row]

    datasets = read(func.count(), func.sum(DatasetRow.bytes), of=DatasetRow)
    models = read(func.count(), func.sum(ModelRow.size_bytes), of=ModelRow)
    jobs = read(func.count(), func.sum(JobRow.active_seconds), of=JobRow)
    predictions = read(func.count(), func.sum(PredictionRow.rows), of=PredictionRow)
    joined = select(func.count(), func.sum(TrialRow.fit_seconds)).join(JobRow, JobRow.id == TrialRow.job_id)
    trials = [v or 0 for v in connection.execute(joined.where(*mine(JobRow))).one()]
    return {
        "object": "usage",
        "since": None if since is None else time(since),
        "datasets": {"count": datasets[0], "bytes": int(datasets[1])},
        "models": {"count": models[0], "bytes": int(models[1])},
        "jobs": {
            "count": jobs[0],
            "active_seconds": float(jobs[1]),
            "trials": trials[0],
            "trial_seconds": float(trials[1]),
        },
        "predictions": {"count": predictions[0], "rows": int(predictions[1])},
    }
