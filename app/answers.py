"""Successful answers: JSON made by orjson, times as RFC 3339 in UTC."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.responses import Response

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer.  NaN and infinities become null."""
    return Response(dumps(body), status, dict(headers) if headers else None, "application/json")


def dumps(body: Any) -> bytes:
    return orjson.dumps(body, default=_default, option=_OPTIONS)


def accepted(body: Mapping[str, Any], location: str) -> Response:
    """202 with where to look."""
    return json(body, 202, {"Location": location})


def created(body: Mapping[str, Any], location: str) -> Response:
    return json(body, 201, {"Location": location})


def time(moment: datetime | None) -> str | None:
    """`2026-01-31T12:00:00.123456Z`; a time without a zone (SQLite) is UTC."""
    if moment is None:
        return None
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def finite(value: float | None, digits: int | None = None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return value if digits is None else round(value, digits)


def _default(value: Any) -> Any:
    if isinstance(value, datetime):
        return time(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)
