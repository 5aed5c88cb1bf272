"""The document at `/openapi.json`: what FastAPI gathers, and what holds for every route of ours."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from app.datasets.schemas import DatasetFromUpload
from app.describe import problems
from app.models.schemas import PredictPost
from app.route import Route, scope_of
from app.schemas import Problem

REFERENCED: Sequence[type[BaseModel]] = (Problem, DatasetFromUpload, PredictPost)  # shapes named in hand-made parts
METHODS = ("get", "head", "post", "put", "patch", "delete")
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Send the same key again and the request happens once; kept for 24 h.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"},
}
_MATCH = {
    "If-None-Match": "A state you have: 304 when it is still the present one.",
    "If-Match": "The state you change: 412 when it is no longer the present one.",
    "Range": "A part of the content, for example `bytes=0-99`.",
}


def install(app: FastAPI) -> None:
    """Make `app.openapi` answer the whole document."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        with warnings.catch_warnings():  # a route for GET and HEAD is two operations of one name until below
            warnings.filterwarnings("ignore", message="Duplicate Operation ID")
            document = plain()
        _add_shapes(document)
        _complete(document, {r.path_format: scope_of(r) for r in app.routes if isinstance(r, Route)})
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _add_shapes(document: dict[str, Any]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in REFERENCED:
        shape = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(shape.pop("$defs", {}))
        schemas[model.__name__] = shape
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's own errors never leave
        schemas.pop(unused, None)


def _complete(document: dict[str, Any], scopes: dict[str, str]) -> None:
    document["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key; not asked for on a private server."}
    }
    for path, operations in document["paths"].items():
        if "head" in operations and "get" in operations:
            operations["head"]["operationId"] = operations["get"]["operationId"] + "_head"
        for method in METHODS:
            if method in operations:
                _complete_operation(operations[method], method, public=scopes.get(path) == "public")


def _complete_operation(operation: dict[str, Any], method: str, *, public: bool) -> None:
    parameters = operation.setdefault("parameters", [])
    answers = operation["responses"]
    if method == "post":
        parameters.append(_KEY)
    if "304" in answers:
        parameters.append(_header("If-None-Match"))
    if "206" in answers:
        parameters.append(_header("Range"))
    if "412" in answers:
        parameters.append(_header("If-Match"))
    codes = ["validation_error", "internal", "capacity_unavailable", "forbidden"]
    if not public:
        operation["security"] = [{"key": []}, {}]
        codes.append("unauthorized")
        if method == "post":
            codes += ["rate_limited", "idempotency_in_progress", "idempotency_key_reused"]
    if method not in ("get", "head"):
        codes.append("dataset_too_large")
    for status, answer in problems(*codes).items():
        known = answers.get(str(status))
        if known is None or "HTTPValidationError" in str(known):
            answers[str(status)] = answer
        elif answer["description"] not in known["description"]:
            known["description"] += "; " + answer["description"]
    if method == "head":
        for answer in answers.values():
            answer.pop("content", None)
    if not parameters:
        del operation["parameters"]


def _header(name: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": _MATCH[name], "schema": {"type": "string"}}
