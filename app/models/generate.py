"""`POST /v1/models/{id}/generate`: samples of a generator, as rows, csv, a sheet of pictures, or a zip of them."""

from __future__ import annotations

import base64
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from app import answers
from app.deps import Caller, Live
from app.describe import BINARY, STRING
from app.describe import answers as described
from app.errors import ApiError, Fault
from app.models import service
from app.models.endpoints import ModelId
from app.route import Route
from app.schemas import Answer, Body, Json
from assay.errors import DataError

router = APIRouter(route_class=Route, tags=["models"])
MAX_ROWS, MAX_IMAGES, MAX_LOOPED = 100_000, 4096, 512  # of one request; looped: pictures drawn value by value


class GeneratePost(Body):
    """condition: column -> value, or a range of numbers or dates as `{"min": a, "max": b}`."""

    n: Annotated[int, Field(strict=True, ge=1, le=MAX_ROWS)] = 10
    seed: Annotated[int | None, Field(strict=True, ge=0, le=2**63 - 1)] = None
    condition: dict[str, Any] | None = Field(None, examples=[{"plan": "b"}])


class Generated(Answer):
    """rows: of a table, one object a sample.  images: of a generator of pictures, each a PNG as base64, with its
    condition if the model has one."""

    model_id: str
    n: int
    seed: int = Field(description="The same model, seed and condition give the same samples.")
    rows: list[Json] | None = None
    images: list[Json] | None = None


@router.post(
    "/v1/models/{model_id}/generate",
    summary="Draw samples",
    responses=described(
        Generated,
        "not_found",
        "validation_error",
        "unsupported_format",
        media={"text/csv": STRING, "image/png": BINARY, "application/zip": BINARY},
        example={
            "model_id": "mdl_0198d3f0c2a97c3f8a51f0a9a4d1c0de",
            "n": 1,
            "seed": 7,
            "rows": [{"age": 41, "plan": "b"}],
        },
    ),
    openapi_extra={"x-scope": "read"},
)
def generate(request: Request, services: Live, caller: Caller, model_id: ModelId, asked: GeneratePost) -> Response:
    """For models of task `generation`.  `Accept` chooses: JSON, `text/csv` for rows, `image/png` (one sheet) or
    `application/zip` (one PNG each) for pictures."""
    row = service.get(services, caller, model_id)
    spec = row.manifest.get("info", {}).get("generation")
    if spec is not None and spec["data"] == "images":
        most = MAX_LOOPED if spec.get("loop") else MAX_IMAGES
        if asked.n > most:
            text = f"{asked.n} pictures are more than the {most} of one request; ask several times with other seeds"
            raise ApiError("validation_error", text, errors=[Fault("/n", "validation_error", text)])
    seed = secrets.randbelow(2**31) if asked.seed is None else asked.seed
    accept = request.headers.get("accept", "")
    try:
        samples = services.shelf.get(row).generate(asked.n, seed, asked.condition)
        headers = {"X-Seed": str(seed)}
        if "text/csv" in accept:
            return Response(samples.csv(), media_type="text/csv", headers=headers)
        if "image/png" in accept:
            return Response(samples.sheet(), media_type="image/png", headers=headers)
        if "application/zip" in accept:
            disposition = {"Content-Disposition": 'attachment; filename="samples.zip"'}
            return Response(samples.zip(), media_type="application/zip", headers=headers | disposition)
    except DataError as error:
        code = error.code if error.code in ("validation_error", "unsupported_format") else "validation_error"
        raise ApiError(code, str(error)) from None
    found: dict[str, Any] = {"model_id": row.id, "n": len(samples), "seed": seed, "rows": None, "images": None}
    if samples.images is None:
        found["rows"] = samples.rows()
    else:
        told = samples.rows()
        found["images"] = [{"png": base64.b64encode(samples.png(i)).decode(), **told[i]} for i in range(len(samples))]
    return answers.json(found)
