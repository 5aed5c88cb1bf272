"""`/v1/predictions`: whole datasets at once."""

from __future__ import annotations

import functools
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from app import answers, etag
from app.db.engine import transaction
from app.deps import Caller, Live, record_answer
from app.describe import STRING, problems
from app.describe import answers as described
from app.longpoll import MAX_WAIT
from app.pages import After, Limit, page
from app.predictions import repository as rows
from app.predictions import service
from app.predictions.schemas import Prediction, PredictionPost
from app.route import Route
from app.schemas import Page
from app.watch import State, polled

router = APIRouter(route_class=Route, tags=["predictions"])
PredictionId = Annotated[str, Path(description="`prd_...`", examples=["prd_0198d3f0c2a97c3f8a51f0a9a4d1c0de"])]


@router.post(
    "/v1/predictions",
    status_code=202,
    summary="Predict a dataset",
    responses=described(
        Prediction,
        "validation_error",
        "schema_mismatch",
        "not_found",
        "dataset_not_ready",
        "idempotency_in_progress",
        "idempotency_key_reused",
        status=202,
        text="Queued",
        headers={"Location": "where the prediction is"},
    ),
)
def create_prediction(request: Request, services: Live, caller: Caller, prediction: PredictionPost) -> Response:
    """Every column the model reads must be there; columns it does not know are passed over."""
    return service.create(
        services, caller, prediction.model, prediction.dataset_id, functools.partial(record_answer, request)
    )


@router.get("/v1/predictions", summary="List predictions", responses=described(Page[Prediction]))
def list_predictions(services: Live, caller: Caller, limit: Limit = 20, after: After = None) -> Response:
    """Newest first."""
    with transaction(services.engine, read_only=True) as connection:
        found = rows.page(connection, caller.owner, after, limit)
    root = services.settings.root_path
    return answers.json(page(found, limit, lambda r: service.to_json(r, root), lambda r: r.id))


@router.get(
    "/v1/predictions/{prediction_id}",
    summary="Get a prediction",
    responses=described(Prediction, "not_found", headers={"ETag": "of the present state"})
    | {304: {"description": "Nothing changed since the state in If-None-Match"}},
)
async def get_prediction(
    request: Request,
    services: Live,
    caller: Caller,
    prediction_id: PredictionId,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT, description="Seconds to wait for the next change.")] = 0,
) -> Response:
    def read() -> State:
        row = service.get(services, caller, prediction_id)
        body = service.to_json(row, services.settings.root_path)
        return State(body, row.status, etag.strong(row.status), row.status not in ("queued", "running"))

    return await polled(request, services.changes, "prediction", prediction_id, wait, read)


@router.api_route(
    "/v1/predictions/{prediction_id}/content",
    methods=["GET", "HEAD"],
    summary="The answers as CSV",
    responses=described(
        None, "not_found", "invalid_transition", "gone", media={"text/csv": STRING}, headers={"ETag": "SHA-256"}
    )
    | {
        206: {"description": "The asked range", "content": {"text/csv": {"schema": STRING}}},
        304: {"description": "Unchanged"},
        416: {**problems("validation_error")[422], "description": "the range lies outside the content"},
    },
)
def get_content(request: Request, services: Live, caller: Caller, prediction_id: PredictionId) -> Response:
    """One row for each row of the dataset, in order: `prediction`, and `probability_<class>` for each class."""
    row = service.result(services, caller, prediction_id)
    blob = services.storage.get(row.result_blob)
    return etag.content(
        request,
        size=blob.size,
        sha256=blob.sha256,
        media_type="text/csv; charset=utf-8",
        filename=f"predictions-{prediction_id}.csv",
        read=functools.partial(services.storage.open_range, blob.id),
    )
