"""Descriptions of answers for OpenAPI: what a route gives, and every problem it can really have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.errors import CODES, MEDIA_TYPE

_PROBLEM = {"$ref": "#/components/schemas/Problem"}


def answers(
    model: Any,
    *codes: str,
    status: int = 200,
    text: str = "OK",
    headers: Mapping[str, str] | None = None,
    media: Mapping[str, Any] | None = None,
    example: Any | None = None,
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route.  media: other content types with their schemas, instead of or beside JSON."""
    good: dict[str, Any] = {"description": text}
    if model is not None:
        good["model"] = model
    if headers:
        good["headers"] = {n: {"description": d, "schema": {"type": "string"}} for n, d in headers.items()}
    content: dict[str, Any] = {kind: {"schema": schema} for kind, schema in (media or {}).items()}
    if example is not None:
        content["application/json"] = {"example": example}
    if content:
        good["content"] = content
    return {status: good, **problems(*codes)}


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Problem answers, one for each status; its description lists the codes."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(CODES[code].status, []).append(code)
    return {status: _described(found) for status, found in by_status.items()}


def _described(codes: list[str]) -> dict[str, Any]:
    text = "; ".join(f"`{c}`: {CODES[c].title.lower()}" for c in codes)
    return {"description": text, "content": {MEDIA_TYPE: {"schema": _PROBLEM}}}


BINARY = {"type": "string", "format": "binary"}
STRING = {"type": "string"}


def body(content: Mapping[str, Any], *, required: bool = True, description: str = "") -> dict[str, Any]:
    """`openapi_extra` of a route that reads its body itself."""
    return {"requestBody": {"required": required, "description": description, "content": dict(content)}}
