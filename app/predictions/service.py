"""Batch predictions: a stored model over a stored dataset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row
from starlette.responses import Response

from app.accounts.service import Principal
from app.answers import accepted, time
from app.datasets import repository as dataset_rows
from app.datasets.service import check_ready
from app.db.engine import transaction
from app.deps import Services
from app.errors import ApiError, Fault, closest, not_found
from app.ids import is_id, new_id
from app.models import service as models
from app.predictions import repository as rows


def to_json(row: Any, root: str = "") -> dict[str, Any]:
    base = f"{root}/v1/predictions/{row.id}"
    return {
        "id": row.id,
        "object": "prediction",
        "model_id": row.model_id,
        "dataset_id": row.dataset_id,
        "status": row.status,
        "rows": row.rows,
        "error": row.error,
        "created_at": time(row.created_at),
        "finished_at": time(row.finished_at),
        "links": {"self": base, "content": f"{base}/content"},
    }


def create(
    services: Services,
    caller: Principal,
    model: str,
    dataset_id: str,
    record: Callable[[Connection, Response], None],
) -> Response:
    """Queue it: 202.  Raises not_found, dataset_not_ready, schema_mismatch."""
    with transaction(services.engine) as connection:
        found = models.find(connection, caller, model)
        dataset = dataset_rows.get(connection, caller.owner, dataset_id, keep=True) if is_id("ds", dataset_id) else None
        if dataset is None:
            raise not_found("dataset", dataset_id)
        check_ready(dataset)
        check_columns(found, dataset)
        values = {
            "id": new_id("prd"),
            "owner": caller.owner,
            "model_id": found.id,
            "dataset_id": dataset_id,
            "status": "queued",
            "created_at": services.clock(),
        }
        rows.add(connection, values)
        services.store.add_chore("predict", values["id"], connection=connection)
        row = rows.get(connection, caller.owner, values["id"])
        answer = accepted(
            to_json(row, services.settings.root_path), f"{services.settings.root_path}/v1/predictions/{values['id']}"
        )
        record(connection, answer)
    services.bell.ring("cpu")
    return answer


def check_columns(model: Any, dataset: Any) -> None:
    """Every column the model needs must be there; single cells may be missing.  Raises schema_mismatch."""
    there = [c["name"] for c in dataset.columns or []]
    lacking = [
        f["name"] for f in model.manifest.get("input_schema", []) if f.get("required", True) and f["name"] not in there
    ]
    if lacking:
        text = f"{dataset.name} has no column {lacking[0]!r}, which the model reads; {closest(lacking[0], there)}"
        raise ApiError("schema_mismatch", text, errors=[Fault("/dataset_id", "schema_mismatch", text)])


def get(services: Services, caller: Principal, id: str) -> Row[Any]:
    with transaction(services.engine, read_only=True) as connection:
        row = rows.get(connection, caller.owner, id) if is_id("prd", id) else None
    if row is None:
        raise not_found("prediction", id)
    return row


def result(services: Services, caller: Principal, id: str) -> Row[Any]:
    """One that succeeded.  Raises invalid_transition with its status, gone."""
    row = get(services, caller, id)
    if row.status != "succeeded":
        why = f": {row.error['message']}" if row.error else f"; wait with GET /v1/predictions/{id}?wait=30"
        raise ApiError("invalid_transition", f"the prediction is {row.status}{why}")
    if row.result_blob is None:
        raise ApiError("gone", "the answers of this prediction are no longer kept; predict again")
    return row
