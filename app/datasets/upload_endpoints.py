"""`/v1/uploads`: bytes sent in pieces, resumed after a break."""

from __future__ import annotations

import functools
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app import answers
from app.datasets import service
from app.datasets.receive import append_body
from app.datasets.schemas import Upload, UploadPost
from app.deps import Caller, Live, record_answer
from app.describe import BINARY, body, problems
from app.describe import answers as described
from app.errors import ApiError
from app.route import Route

router = APIRouter(route_class=Route, tags=["uploads"])
UploadId = Annotated[str, Path(description="`upl_...`", examples=["upl_0198d3f0c2a97c3f8a51f0a9a4d1c0de"])]


@router.post(
    "/v1/uploads",
    status_code=201,
    summary="Begin a resumable upload",
    responses=described(
        Upload,
        "validation_error",
        "dataset_too_large",
        "idempotency_key_reused",
        "idempotency_in_progress",
        status=201,
        text="Send the bytes with PATCH",
        headers={"Location": "where the bytes go", "Upload-Offset": "0"},
    ),
)
def create_upload(request: Request, services: Live, caller: Caller, upload: UploadPost) -> Response:
    return service.begin_upload(
        services,
        caller,
        filename=upload.filename,
        size=upload.size,
        sha256=upload.sha256,
        record=functools.partial(record_answer, request),
    )


@router.api_route(
    "/v1/uploads/{upload_id}",
    methods=["GET", "HEAD"],
    summary="How far an upload came",
    responses=described(
        Upload, "not_found", headers={"Upload-Offset": "where to go on", "Upload-Length": "bytes in all"}
    ),
)
def get_upload(services: Live, caller: Caller, upload_id: UploadId) -> Response:
    row, offset = service.get_upload(services, caller, upload_id)
    return answers.json(service.upload_json(row, offset), headers=_progress(row, offset))


@router.patch(
    "/v1/uploads/{upload_id}",
    status_code=204,
    summary="Send the next bytes",
    responses=described(
        None,
        "validation_error",
        "not_found",
        "gone",
        "invalid_transition",
        "upload_offset_mismatch",
        "checksum_mismatch",
        "precondition_required",
        "dataset_too_large",
        status=204,
        text="Stored",
        headers={"Upload-Offset": "where to go on", "Upload-Length": "bytes in all"},
    )
    | {
        400: {**problems("validation_error")[422], "description": "the sender went away; what arrived is kept"},
        408: {**problems("validation_error")[422], "description": "the body came too slowly; what arrived is kept"},
    },
    openapi_extra=body({"application/octet-stream": {"schema": BINARY}}, required=False),  # nothing adds nothing
)
async def patch_upload(
    request: Request,
    services: Live,
    caller: Caller,
    upload_id: UploadId,
    upload_offset: Annotated[
        int | None, Header(ge=0, le=1 << 50, description="Where this chunk begins; needed.", examples=[0])
    ] = None,
) -> Response:
    """The chunk must begin where the upload ends; what arrived is kept even when the connection breaks."""
    if upload_offset is None:
        raise ApiError("precondition_required", "say with `Upload-Offset: <bytes>` where this chunk begins")
    row, offset = await run_in_threadpool(service.open_upload, services, caller, upload_id, upload_offset)
    writer = await run_in_threadpool(services.storage.append, row.blob)
    await append_body(request, writer, services.settings.upload_timeout, row.size - offset)
    await run_in_threadpool(service.end_chunk, services, row, writer.received)
    return Response(status_code=204, headers=_progress(row, writer.received))


@router.delete(
    "/v1/uploads/{upload_id}",
    status_code=204,
    summary="Give up an upload",
    responses=described(None, "not_found", status=204, text="Gone"),
)
def delete_upload(services: Live, caller: Caller, upload_id: UploadId) -> Response:
    service.delete_upload(services, caller, upload_id)
    return Response(status_code=204)


def _progress(row: Any, offset: int) -> dict[str, str]:
    return {"Upload-Offset": str(offset), "Upload-Length": str(row.size), "Cache-Control": "no-store"}
