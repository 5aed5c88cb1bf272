"""`/v1/datasets`."""

from __future__ import annotations

import functools
from contextlib import closing
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Path, Query, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app import answers, etag
from app.datasets import repository as rows
from app.datasets import service
from app.datasets.fetch import fetch
from app.datasets.formats import format_of
from app.datasets.preview import preview as read_preview
from app.datasets.receive import store_body, store_multipart
from app.datasets.schemas import (
    Dataset,
    DatasetFromUpload,
    DatasetPatch,
    Preview,
    Profile,
    SchemaPut,
    SchemaShape,
)
from app.db.engine import transaction
from app.deps import Caller, Live, record_answer
from app.describe import BINARY, body, problems
from app.describe import answers as described
from app.errors import ApiError, Fault
from app.longpoll import MAX_WAIT
from app.pages import After, Limit, page
from app.route import Route
from app.schemas import Page
from app.watch import State, polled

router = APIRouter(route_class=Route, tags=["datasets"])
DatasetId = Annotated[str, Path(description="`ds_...`", examples=["ds_0198d3f0c2a97c3f8a51f0a9a4d1c0de"])]
Status = Literal["validating", "ready", "failed"]

_BODY = body(
    {
        "text/csv": {"schema": BINARY, "example": "age,plan,churn\n41,b,no\n23,a,yes\n"},
        "application/vnd.apache.parquet": {"schema": BINARY},
        "application/octet-stream": {"schema": BINARY},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": BINARY, "name": {"type": "string"}, "format": {"type": "string"}},
                "additionalProperties": False,
            }
        },
        "application/json": {
            "schema": {"$ref": "#/components/schemas/DatasetFromUpload"},
            "example": {"name": "churn", "upload_id": "upl_0198d3f0c2a97c3f8a51f0a9a4d1c0de"},
        },
    },
    description="The bytes themselves, a form with the part `file`, `{name, upload_id}` of a finished upload, or "
    "`{name, url}` at a host the operator allows.",
)


@router.post(
    "/v1/datasets",
    status_code=201,
    summary="Upload a dataset",
    responses=described(
        Dataset,
        "validation_error",
        "unsupported_format",
        "dataset_too_large",
        "dataset_not_ready",
        "source_not_allowed",
        "source_unreachable",
        "not_found",
        "gone",
        "idempotency_key_reused",
        "idempotency_in_progress",
        status=201,
        text="Stored; it is being read, see `status`",
        headers={"Location": "where the dataset is"},
    )
    | {
        400: {**problems("validation_error")[422], "description": "the sender went away"},
        408: {**problems("validation_error")[422], "description": "the body came too slowly"},
    },
    openapi_extra=_BODY,
)
async def create_dataset(
    request: Request,
    services: Live,
    caller: Caller,
    name: Annotated[str | None, Query(max_length=200, description="What to call it.", examples=["churn"])] = None,
    format: Annotated[str | None, Query(max_length=40, description="When the content type does not say it.")] = None,
) -> Response:
    """Send the bytes as the body (any Content-Type of a table), as the form field `file`, or name a finished upload.

    The answer comes as soon as the bytes are stored, with status `validating`; `GET /v1/datasets/{id}?wait=30` answers
    when the dataset was read.
    """
    content_type = request.headers.get("content-type", "")
    media = content_type.partition(";")[0].strip().lower()
    timeout = services.settings.upload_timeout
    filename: str | None = None
    if media == "application/json" and format is None:
        return await _from_upload(request, services, caller, name)
    if media == "multipart/form-data":
        blob, filename, part_type, fields = await store_multipart(request, services.storage, timeout)
        name, format = name or fields.get("name"), format or fields.get("format")
        content_type = part_type or ""
        found = format_of(format, content_type)
    else:
        found = format_of(format, content_type)
        blob = await store_body(request, services.storage, timeout)
    make = functools.partial(
        service.create,
        services,
        caller,
        blob,
        name=name,
        filename=filename,
        format=found,
        media_type=content_type,
        record=functools.partial(record_answer, request),
    )
    return await run_in_threadpool(make)


async def _from_upload(request: Request, services: Live, caller: Caller, name: str | None) -> Response:
    try:
        asked = DatasetFromUpload.model_validate(orjson.loads(await request.body()))
    except orjson.JSONDecodeError as error:
        raise ApiError(
            "validation_error", f"the body is not JSON: {error}; send a JSON dataset with ?format=json"
        ) from None
    except ValidationError as error:
        faults = [Fault("/" + "/".join(map(str, e["loc"])), e["type"], e["msg"]) for e in error.errors()]
        hint = "send {name, upload_id}, or the dataset itself with ?format=json"
        raise ApiError("validation_error", f"{faults[0].pointer}: {faults[0].message}; {hint}", errors=faults) from None
    if (asked.upload_id is None) == (asked.url is None):
        text = "is needed" if asked.upload_id is None else "and url exclude each other"
        raise ApiError("validation_error", f"/upload_id: {text}", errors=[Fault("/upload_id", "missing", text)])

    def make() -> Response:
        if asked.url is not None:
            with closing(
                fetch(asked.url, services.settings.import_hosts, services.settings.max_upload_bytes)
            ) as source:
                kind, format = source.content_type, format_of(asked.format, source.content_type)
                filename, blob = asked.url.partition("?")[0], services.storage.put(source.pieces())
        else:
            upload, blob = service.finished_upload(services, caller, asked.upload_id or "")
            kind, filename, format = "", upload.filename, format_of(asked.format, "")
        return service.create(
            services,
            caller,
            blob,
            name=asked.name or name,
            filename=filename,
            format=format,
            media_type=kind,
            record=functools.partial(record_answer, request),
        )

    return await run_in_threadpool(make)


@router.get("/v1/datasets", summary="List datasets", responses=described(Page[Dataset]))
def list_datasets(
    services: Live,
    caller: Caller,
    limit: Limit = 20,
    after: After = None,
    status: Annotated[list[Status] | None, Query(description="Only these; may be repeated.")] = None,
) -> Response:
    """Newest first."""
    with transaction(services.engine, read_only=True) as connection:
        found = rows.page(connection, caller.owner, after, limit, status)
    return answers.json(page(found, limit, service.to_json, lambda r: r.id))


@router.get(
    "/v1/datasets/{dataset_id}",
    summary="Get a dataset",
    responses=described(Dataset, "not_found", headers={"ETag": "of the present state"})
    | {304: {"description": "Nothing changed since the state in If-None-Match"}},
)
async def get_dataset(
    request: Request,
    services: Live,
    caller: Caller,
    dataset_id: DatasetId,
    wait: Annotated[
        float,
        Query(ge=0, le=MAX_WAIT, description="Seconds to wait for the next change, or for the end of the reading."),
    ] = 0,
) -> Response:
    """With `wait`, answers at the next change, at once when the dataset is no longer `validating`."""

    def read() -> State:
        row = service.get(services, caller, dataset_id)
        tag = rows.tag(row)
        return State(service.to_json(row), tag, etag.strong(tag), row.status != "validating")

    return await polled(request, services.changes, "dataset", dataset_id, wait, read)


@router.patch(
    "/v1/datasets/{dataset_id}",
    summary="Rename or tag a dataset",
    responses=described(Dataset, "not_found", "precondition_failed"),
)
def patch_dataset(
    request: Request, services: Live, caller: Caller, dataset_id: DatasetId, change: DatasetPatch
) -> Response:
    values = {k: v for k, v in change.model_dump(exclude_unset=True).items() if v is not None}
    row = service.patch(
        services, caller, dataset_id, values, lambda r: etag.check_if_match(request, etag.strong(rows.tag(r)))
    )
    return answers.json(service.to_json(row), headers={"ETag": etag.strong(rows.tag(row))})


@router.delete(
    "/v1/datasets/{dataset_id}",
    status_code=204,
    summary="Delete a dataset",
    responses=described(None, "not_found", "invalid_transition", status=204, text="Gone for good"),
)
def delete_dataset(services: Live, caller: Caller, dataset_id: DatasetId) -> Response:
    """Refused while unfinished jobs use it.  Ended jobs and models stay; those jobs cannot be reopened any more."""
    service.delete(services, caller, dataset_id)
    return Response(status_code=204)


@router.get(
    "/v1/datasets/{dataset_id}/schema", summary="Types of the columns", responses=described(SchemaShape, "not_found")
)
def get_schema(services: Live, caller: Caller, dataset_id: DatasetId) -> Response:
    return answers.json(service.schema_json(service.get(services, caller, dataset_id)))


@router.put(
    "/v1/datasets/{dataset_id}/schema",
    summary="Set types of columns",
    responses=described(
        Dataset, "not_found", "dataset_not_ready", "invalid_transition", text="A new version, which is being read"
    ),
)
def put_schema(services: Live, caller: Caller, dataset_id: DatasetId, schema: SchemaPut) -> Response:
    """Makes a new version of the dataset; it is read again with these types, so its status is `validating` first."""
    row = service.set_schema(services, caller, dataset_id, [(c.name, c.type) for c in schema.columns])
    return answers.json(service.to_json(row), headers={"ETag": etag.strong(rows.tag(row))})


@router.get(
    "/v1/datasets/{dataset_id}/preview",
    summary="The first rows",
    responses=described(Preview, "not_found", "dataset_not_ready"),
)
def get_preview(
    services: Live,
    caller: Caller,
    dataset_id: DatasetId,
    n: Annotated[int, Query(alias="rows", ge=1, le=1000, description="How many.")] = 50,
) -> Response:
    row = service.ready(services, caller, dataset_id)
    return answers.json({"object": "preview", "dataset_id": row.id, **read_preview(services.storage, row, n)})


@router.get(
    "/v1/datasets/{dataset_id}/profile",
    summary="Statistics of the columns",
    responses=described(Profile, "not_found", "dataset_not_ready"),
)
def get_profile(services: Live, caller: Caller, dataset_id: DatasetId) -> Response:
    row = service.ready(services, caller, dataset_id)
    return answers.json({"object": "profile", "dataset_id": row.id, "profile": row.profile or {}})


@router.api_route(
    "/v1/datasets/{dataset_id}/content",
    methods=["GET", "HEAD"],
    summary="The bytes as they were sent",
    responses=described(None, "not_found", media={"application/octet-stream": BINARY}, headers={"ETag": "SHA-256"})
    | {
        206: {"description": "The asked range", "content": {"application/octet-stream": {"schema": BINARY}}},
        304: {"description": "Unchanged"},
        416: {**problems("validation_error")[422], "description": "the range lies outside the content"},
    },
)
def get_content(request: Request, services: Live, caller: Caller, dataset_id: DatasetId) -> Response:
    row = service.get(services, caller, dataset_id)
    return etag.content(
        request,
        size=row.bytes,
        sha256=row.sha256,
        media_type="application/octet-stream",  # never as a page: the content is a stranger's
        filename=row.filename or row.name,
        read=functools.partial(services.storage.open_range, row.content_blob),
    )
