"""`/v2`: the Open Inference Protocol v2 of KServe, an adapter over `/v1/models/{id}/predict`.

A column of the model is one input tensor of shape [n] or [n, 1]: FP64 for numbers, BYTES for the rest; null is a missing
value.  The answers are the graph's own outputs.  Errors are problem+json like everywhere here.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path
from pydantic import Field
from starlette.responses import Response

from app import answers
from app.db.engine import transaction
from app.deps import Caller, Live
from app.describe import answers as described
from app.errors import ApiError, Fault
from app.health import service as health
from app.health.repository import alive
from app.models import service
from app.models.endpoints import MAX_ROWS, ModelId
from app.route import Route
from app.schemas import Answer, Body, Json
from assay.errors import DataError

router = APIRouter(route_class=Route, tags=["kserve"])
PUBLIC = {"x-scope": "public"}
NUMBERS = ("FP64", "FP32", "FP16", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8", "BOOL")
Version = Annotated[str, Path(pattern=r"^1$", description="A model never changes: its one version is 1.")]


class ServerMetadata(Answer):
    name: str
    version: str
    extensions: list[str]


class ServerLive(Answer):
    live: bool


class ServerReady(Answer):
    ready: bool


class Tensor(Answer):
    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Answer):
    name: str
    versions: list[str]
    platform: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class ModelReady(Answer):
    name: str
    ready: bool


class InferInput(Body):
    """One column.  data: flat, or nested as the shape says."""

    name: Annotated[str, Field(min_length=1, max_length=1000)]
    shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=2)]
    datatype: Literal["BYTES", *NUMBERS]  # type: ignore[valid-type]
    parameters: Json | None = None
    data: list[Any]


class InferOutput(Body):
    name: str
    parameters: Json | None = None


class InferPost(Body):
    id: Annotated[str | None, Field(max_length=200)] = None
    inputs: Annotated[
        list[InferInput],
        Field(
            min_length=1,
            max_length=100_000,
            examples=[
                [
                    {"name": "age", "shape": [1], "datatype": "FP64", "data": [41]},
                    {"name": "plan", "shape": [1], "datatype": "BYTES", "data": ["b"]},
                ]
            ],
        ),
    ]
    outputs: list[InferOutput] | None = None
    parameters: Json | None = None


class InferTensor(Tensor):
    data: list[Any]


class Inferred(Answer):
    model_name: str
    model_version: str
    id: str | None
    outputs: list[InferTensor]


@router.get("/v2", summary="The inference server", responses=described(ServerMetadata), openapi_extra=PUBLIC)
async def server() -> Response:
    return answers.json({"name": "assay", "version": health.version(), "extensions": []})


@router.get("/v2/health/live", summary="Is it alive?", responses=described(ServerLive), openapi_extra=PUBLIC)
async def live() -> Response:
    return answers.json({"live": True})


@router.get(
    "/v2/health/ready",
    summary="Can it infer?",
    responses=described(ServerReady, "capacity_unavailable"),
    openapi_extra=PUBLIC,
)
def ready(services: Live) -> Response:
    with transaction(services.engine, read_only=True) as connection:
        alive(connection)  # workers train; the API itself infers
    return answers.json({"ready": True})


@router.get("/v2/models/{model_id}", summary="Inputs and outputs", responses=described(ModelMetadata, "not_found"))
def metadata(services: Live, caller: Caller, model_id: ModelId) -> Response:
    return answers.json(_metadata(service.get(services, caller, model_id)))


@router.get(
    "/v2/models/{model_id}/versions/{version}",
    summary="Inputs and outputs of a version",
    responses=described(ModelMetadata, "not_found"),
)
def version_metadata(services: Live, caller: Caller, model_id: ModelId, version: Version) -> Response:
    return answers.json(_metadata(service.get(services, caller, model_id)))


@router.get("/v2/models/{model_id}/ready", summary="Is it loaded?", responses=described(ModelReady, "not_found"))
def model_ready(services: Live, caller: Caller, model_id: ModelId) -> Response:
    """Loads the model, so that the first inference does not wait for it."""
    row = service.get(services, caller, model_id)
    services.shelf.get(row)
    return answers.json({"name": row.id, "ready": True})


@router.post(
    "/v2/models/{model_id}/infer",
    summary="Infer",
    responses=described(Inferred, "not_found", "validation_error", "schema_mismatch", "dataset_too_large"),
    openapi_extra={"x-scope": "read"},
)
def infer(services: Live, caller: Caller, model_id: ModelId, asked: InferPost) -> Response:
    row = service.get(services, caller, model_id)
    columns = [column(t, f"/inputs/{i}") for i, t in enumerate(asked.inputs)]
    n = len(columns[0])
    for i, values in enumerate(columns):
        if len(values) != n:
            _refuse(
                f"/inputs/{i}/shape",
                f"{asked.inputs[i].name!r} has {len(values)} rows, {asked.inputs[0].name!r} has {n}",
            )
    if n > MAX_ROWS:
        raise ApiError("dataset_too_large", f"{n:,} rows are more than the {MAX_ROWS:,} of one request")
    model = services.shelf.get(row)
    try:
        rows = [list(r) for r in zip(*columns, strict=True)]
        table, _ = model.read({"columns": [t.name for t in asked.inputs], "data": rows})
        found = model.run(table)
    except DataError as error:
        raise ApiError("schema_mismatch", str(error)) from None
    wanted = [o.name for o in asked.outputs] if asked.outputs else list(found)
    for i, name in enumerate(wanted):
        if name not in found:
            _refuse(f"/outputs/{i}/name", f"{name!r} is not an output; there are {', '.join(map(repr, found))}")
    return answers.json(
        {
            "model_name": row.id,
            "model_version": "1",
            "id": asked.id,
            "outputs": [tensor(name, np.asarray(found[name])) for name in wanted],
        }
    )


def column(sent: InferInput, pointer: str) -> list[Any]:
    """The cells of one input.  Raises validation_error when data and shape disagree."""
    cells = [c for row in sent.data for c in (row if isinstance(row, list) else [row])]
    if len(sent.shape) == 2 and sent.shape[1] != 1:
        _refuse(f"{pointer}/shape", f"a column has the shape [n] or [n, 1], not {sent.shape}")
    if len(cells) != math.prod(sent.shape):
        _refuse(f"{pointer}/data", f"there are {len(cells)} values, and the shape {sent.shape} asks for another number")
    return cells


def tensor(name: str, values: np.ndarray) -> dict[str, Any]:
    """An output in the protocol's shape, flat in row order."""
    kinds = {"f": "FP64" if values.dtype.itemsize == 8 else "FP32", "i": "INT64", "u": "UINT8", "b": "BOOL"}
    kind = kinds.get(values.dtype.kind, "BYTES")
    flat = values.ravel().tolist()
    return {
        "name": name,
        "datatype": kind,
        "shape": list(values.shape),
        "data": [str(v) for v in flat] if kind == "BYTES" else [_finite(v) for v in flat],
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _metadata(row: Any) -> dict[str, Any]:
    manifest = row.manifest
    k = len(manifest.get("classes", []))
    inputs = [
        {"name": f["name"], "datatype": "FP64" if f["type"] in ("number", "integer") else "BYTES", "shape": [-1]}
        for f in manifest.get("input_schema", [])
    ]
    outputs = [
        {
            "name": name,
            "datatype": "BYTES" if name == "label" else "FP32",
            "shape": [-1] if name == "label" else [-1, k if name == "probabilities" else -1],
        }
        for name in manifest.get("outputs", {})
    ]
    return {"name": row.id, "versions": ["1"], "platform": "onnxruntime_onnx", "inputs": inputs, "outputs": outputs}


def _refuse(pointer: str, message: str) -> None:
    raise ApiError("validation_error", message, errors=[Fault(pointer, "validation_error", message)])
