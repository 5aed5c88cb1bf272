"""`/v1/models`: what was delivered, its files, and its answers."""

from __future__ import annotations

import csv
import functools
import hashlib
import io
from dataclasses import asdict
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Query, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from app import answers, etag
from app.db.engine import transaction
from app.deps import Caller, Live, Services
from app.describe import BINARY, STRING, body, problems
from app.describe import answers as described
from app.errors import ApiError, Fault
from app.models import repository as rows
from app.models import service
from app.models.schemas import Explanations, Model, ModelCard, ModelPatch, ModelSchema, Predictions, PredictPost
from app.pages import After, Limit, page
from app.route import Route
from app.schemas import Page
from assay.data.images.sent import Sent
from assay.data.images.sent import sent as sent_pictures
from assay.errors import DataError

router = APIRouter(route_class=Route, tags=["models"])
ModelId = Annotated[
    str, Path(description="`mdl_...`, or `name@alias`", examples=["mdl_0198d3f0c2a97c3f8a51f0a9a4d1c0de"])
]
MAX_ROWS = 200_000  # of one request; more belong into a batch prediction
MAX_PICTURES = 5_000
_ROWS = body(
    {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/PredictPost"},
            "example": {"rows": [{"age": 41, "plan": "b"}]},
        },
        "text/csv": {"schema": STRING, "example": "age,plan\n41,b\n"},
        "image/*": {"schema": BINARY},
        "application/zip": {"schema": BINARY},
    }
)


@router.get("/v1/models", summary="List models", responses=described(Page[Model]))
def list_models(
    services: Live,
    caller: Caller,
    limit: Limit = 20,
    after: After = None,
    job_id: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_]{1,100}$", description="Only those of one job.")] = None,
    name: Annotated[
        str | None, Query(max_length=400, pattern=r"^[^\x00]*$", description="Only those of this name.")
    ] = None,
) -> Response:
    """Newest first."""
    with transaction(services.engine, read_only=True) as connection:
        found = rows.page(connection, caller.owner, after, limit, job_id, name)
    root = services.settings.root_path
    return answers.json(page(found, limit, lambda r: service.to_json(r, root), lambda r: r.id))


@router.get("/v1/models/{model_id}", summary="Get a model", responses=described(Model, "not_found"))
def get_model(services: Live, caller: Caller, model_id: ModelId) -> Response:
    row = service.get(services, caller, model_id)
    return answers.json(service.to_json(row, services.settings.root_path), headers={"ETag": _tag(row)})


@router.patch(
    "/v1/models/{model_id}",
    summary="Name, describe or alias a model",
    responses=described(Model, "not_found", "validation_error", "precondition_failed"),
)
def patch_model(request: Request, services: Live, caller: Caller, model_id: ModelId, change: ModelPatch) -> Response:
    row = service.patch(
        services,
        caller,
        model_id,
        change.model_dump(exclude_unset=True),
        lambda present: etag.check_if_match(request, _tag(present)),
    )
    return answers.json(service.to_json(row, services.settings.root_path), headers={"ETag": _tag(row)})


@router.delete(
    "/v1/models/{model_id}",
    status_code=204,
    summary="Delete a model",
    responses=described(None, "not_found", status=204, text="Gone, with its files"),
)
def delete_model(services: Live, caller: Caller, model_id: ModelId) -> Response:
    service.delete(services, caller, model_id)
    return Response(status_code=204)


@router.api_route(
    "/v1/models/{model_id}/download",
    methods=["GET", "HEAD"],
    summary="The model as a file",
    responses=described(None, "not_found", media={"application/octet-stream": BINARY}, headers={"ETag": "SHA-256"})
    | {
        206: {"description": "The asked range", "content": {"application/octet-stream": {"schema": BINARY}}},
        304: {"description": "Unchanged"},
        416: {**problems("validation_error")[422], "description": "the range lies outside the content"},
    },
)
def download(
    request: Request,
    services: Live,
    caller: Caller,
    model_id: ModelId,
    format: Annotated[
        Literal["bundle", "onnx"], Query(description="The zip with everything, or the graph.")
    ] = "bundle",
) -> Response:
    """The very file that answers `/predict`.  Ranges resume a broken download."""
    row = service.get(services, caller, model_id)
    stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in row.name)[:80] or "model"
    whole = format == "bundle"
    with transaction(services.engine, read_only=True) as connection:
        size = row.size_bytes if whole else rows.blob_size(connection, row.onnx_blob)
    return etag.content(
        request,
        size=size,
        sha256=row.sha256 if whole else row.onnx_sha256,
        media_type="application/zip" if whole else "application/octet-stream",
        filename=f"{stem}.assay.zip" if whole else f"{stem}.onnx",
        read=functools.partial(services.storage.open_range, row.bundle_blob if whole else row.onnx_blob),
    )


@router.get(
    "/v1/models/{model_id}/card",
    summary="The model card",
    responses=described(ModelCard, "not_found", media={"text/markdown": STRING}),
)
def get_card(request: Request, services: Live, caller: Caller, model_id: ModelId) -> Response:
    """JSON with the facts and a Markdown text; the text alone with `Accept: text/markdown`."""
    row = service.get(services, caller, model_id)
    if "text/markdown" in request.headers.get("accept", ""):
        return PlainTextResponse(service.markdown(row), media_type="text/markdown")
    return answers.json(service.card(row))


@router.get(
    "/v1/models/{model_id}/schema", summary="What a row must look like", responses=described(ModelSchema, "not_found")
)
def get_schema(services: Live, caller: Caller, model_id: ModelId) -> Response:
    return answers.json(service.schema_json(service.get(services, caller, model_id)))


@router.post(
    "/v1/models/{model_id}/predict",
    summary="Predict rows",
    responses=described(
        Predictions,
        "not_found",
        "validation_error",
        "schema_mismatch",
        "unsupported_format",
        "dataset_too_large",
        media={"text/csv": STRING, "application/zip": BINARY},
    ),
    openapi_extra={"x-scope": "read", **_ROWS},
)
async def predict(
    request: Request,
    services: Live,
    caller: Caller,
    model_id: ModelId,
    format: Annotated[
        Literal["json", "csv", "coco", "masks"] | None,
        Query(description="Of the answers; `coco` for boxes and masks, `masks` for a zip of PNG files."),
    ] = None,
) -> Response:
    """Rows as JSON objects, as `columns` and `data`, or as csv with a header; one answer a row, in order.

    A model of pictures also takes one picture (`image/png`, `image/jpeg`, ...) or a zip of them, answered in the order of
    its members with their `name`; in JSON a picture is base64.

    `Accept: text/csv` answers csv: `prediction`, and `probability_<class>` for every class.  `format=coco` answers boxes or
    masks as COCO's JSON, `format=masks` (or `Accept: application/zip`) the masks of a segmenter as PNG files in a zip.
    """
    sent, kind = await request.body(), _kind(request)
    accepted = request.headers.get("accept", "")
    wanted = format or ("csv" if "text/csv" in accepted else "masks" if "application/zip" in accepted else "json")
    return await run_in_threadpool(_predict, services, caller, model_id, sent, kind, wanted)


@router.post(
    "/v1/models/{model_id}/explain",
    summary="Explain predictions",
    responses=described(
        Explanations,
        "not_found",
        "validation_error",
        "schema_mismatch",
        "unsupported_format",
        "dataset_too_large",
    ),
    openapi_extra={"x-scope": "read", **_ROWS},
)
async def explain(request: Request, services: Live, caller: Caller, model_id: ModelId) -> Response:
    """How far each column moved each answer: the answer, less the answer with that column missing (occlusion).

    Takes rows like `/predict`.  For classes it explains the probability of the one that is answered.
    """
    sent, kind = await request.body(), _kind(request)
    return await run_in_threadpool(_explain, services, caller, model_id, sent, kind)


def _predict(services: Services, caller: Any, model_id: str, sent: bytes, kind: str, wanted: str) -> Response:
    """wanted: "json", "csv", or one of the formats of the model's task."""
    from assay.model.predict import answers as told
    from assay.model.predict import csv_lines
    from assay.tasks import discover

    row = service.get(services, caller, model_id)
    task: Any = discover().get(str(row.manifest.get("task")))
    if wanted not in ("json", "csv", *getattr(task, "formats", ())):
        known = ", ".join(("json", "csv", *getattr(task, "formats", ())))
        raise ApiError("validation_error", f"a model of this task does not answer as {wanted!r}; it does as {known}")
    given = _rows(sent, kind)
    model, table, warnings = _read(services, row, given, MAX_ROWS)
    outputs = model.run(table)
    if wanted == "csv":
        out = io.StringIO(newline="")
        csv.writer(out, lineterminator="\n").writerows(csv_lines(outputs, model.manifest))
        return Response(out.getvalue(), media_type="text/csv")
    predictions = told(outputs, model.manifest)
    if isinstance(given, Sent):
        predictions = [p if n is None else {**p, "name": n} for p, n in zip(predictions, given.names, strict=True)]
    if wanted != "json":
        content, media = task.render(wanted, predictions, model.manifest)
        return Response(content, media_type=media)
    found = {"model_id": row.id, "predictions": predictions}
    return answers.json({**found, "warnings": [w.to_json() for w in warnings]})


def _explain(services: Services, caller: Any, model_id: str, sent: bytes, kind: str) -> Response:
    from assay.model.explain import explain as occlude

    row = service.get(services, caller, model_id)
    columns = len(row.manifest.get("input_schema", ()))
    model, table, warnings = _read(services, row, _rows(sent, kind), max(1, MAX_ROWS // (columns + 1)))
    found = {"model_id": row.id, "method": "occlusion", "explanations": [asdict(e) for e in occlude(model, table)]}
    return answers.json({**found, "warnings": [w.to_json() for w in warnings]})


def _read(services: Services, row: Any, given: Any, most: int) -> tuple[Any, Any, Any]:
    """(model, table, warnings).  given: from `_rows`.  Raises schema_mismatch and dataset_too_large."""
    if isinstance(given, Sent) and len(given.files) > MAX_PICTURES:
        text = (
            f"{len(given.files):,} pictures are more than the {MAX_PICTURES:,} of one request; use POST /v1/predictions"
        )
        raise ApiError("dataset_too_large", text)
    model = services.shelf.get(row)
    try:
        table, warnings = model.read(given)
    except DataError as error:
        raise ApiError(_code(error), str(error), errors=[Fault(_place(error), _code(error), str(error))]) from None
    if len(table) > most:
        text = f"{len(table):,} rows are more than the {most:,} of one request; use POST /v1/predictions"
        raise ApiError("dataset_too_large", text)
    return model, table, warnings


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "application/json").split(";")[0].strip().lower()


def _rows(sent: bytes, kind: str) -> Any:
    """The rows in a request's body, as `Model.read` takes them."""
    if kind in ("text/csv", "text/tab-separated-values", "application/csv"):
        return sent
    if kind.startswith("image/") or kind in ("application/zip", "application/x-zip-compressed"):
        try:
            return sent_pictures(sent)
        except DataError as error:
            raise ApiError("unsupported_format", str(error)) from None
    if kind not in ("application/json", ""):
        text = (
            f"{kind!r} is not read here; send application/json or text/csv, for pictures image/... or application/zip"
        )
        raise ApiError("unsupported_format", text)
    try:
        posted = PredictPost.model_validate(orjson.loads(sent or b"null"))
    except orjson.JSONDecodeError as error:
        raise ApiError("validation_error", f"the body is not JSON: {error}") from None
    except ValidationError as error:
        faults = [Fault("/" + "/".join(map(str, e["loc"])), "validation_error", e["msg"]) for e in error.errors()[:20]]
        raise ApiError("validation_error", 'send rows as {"rows": [{…}]}, or columns and data', errors=faults) from None
    if posted.rows is not None and posted.columns is None and posted.data is None:
        return posted.rows
    if posted.rows is None and posted.columns is not None and posted.data is not None:
        return {"columns": posted.columns, "data": posted.data}
    raise ApiError("validation_error", "send either rows, or columns and data together")


def _code(error: DataError) -> str:
    return (
        error.code if error.code in ("schema_mismatch", "unsupported_format", "validation_error") else "schema_mismatch"
    )


def _place(error: DataError) -> str:
    if error.row is not None:
        return f"/rows/{error.row - 1}"
    return "/rows" if error.column is None else f"/rows/*/{error.column}"


def _tag(row: Any) -> str:
    state = repr((row.id, row.name, row.description, row.aliases)).encode()
    return etag.weak(hashlib.sha256(state).hexdigest()[:16])
