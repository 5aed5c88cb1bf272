"""Every answer that is not a success: RFC 9457 `application/problem+json` with a stable code.

The codes are a closed set (`CODES`).  Whatever goes wrong, in the router, in validation, in the database or in a bug,
leaves as one of them.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from app.db.engine import DatabaseUnavailable
from assay.errors import AssayError, DataError, SpecError

MEDIA_TYPE = "application/problem+json"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Code:
    """One entry of the closed set: the status it is sent with, and what it means."""

    status: int
    title: str


CODES: Mapping[str, Code] = {
    "validation_error": Code(422, "The request is not valid"),
    "target_not_found": Code(422, "The target is not a column of the dataset"),
    "dataset_not_ready": Code(409, "The dataset is not ready"),
    "dataset_too_large": Code(413, "The body is too large"),
    "unsupported_format": Code(415, "The format is not supported"),
    "schema_mismatch": Code(422, "The data does not fit the schema"),
    "too_few_rows": Code(422, "There are too few rows"),
    "single_class_target": Code(422, "The target has one class only"),
    "invalid_transition": Code(409, "The present status does not allow this"),
    "idempotency_key_reused": Code(422, "The idempotency key was used for another request"),
    "idempotency_in_progress": Code(409, "The first request with this idempotency key is still running"),
    "not_found": Code(404, "There is no such resource"),
    "gone": Code(410, "The resource is no longer there"),
    "unauthorized": Code(401, "A valid API key is needed"),
    "forbidden": Code(403, "This is not allowed"),
    "quota_exceeded": Code(429, "A quota is used up"),
    "rate_limited": Code(429, "Too many requests"),
    "precondition_failed": Code(412, "The resource has changed"),
    "precondition_required": Code(428, "A precondition header is needed"),
    "upload_offset_mismatch": Code(409, "The upload goes on from another offset"),
    "checksum_mismatch": Code(422, "The content does not have the announced checksum"),
    "source_not_allowed": Code(403, "The source may not be read"),
    "source_unreachable": Code(422, "The source cannot be read"),
    "capacity_unavailable": Code(503, "The service cannot do this now"),
    "internal": Code(500, "Something is wrong on our side"),
}

# statuses that the router and the libraries below may raise by themselves
_BY_STATUS = {
    400: "validation_error",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    410: "gone",
    412: "precondition_failed",
    413: "dataset_too_large",
    415: "unsupported_format",
    428: "precondition_required",
    429: "rate_limited",
    503: "capacity_unavailable",
}


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a request.  pointer: JSON pointer into the body, or `?name` / `header:Name`."""

    pointer: str
    code: str
    message: str


class ApiError(HTTPException):
    """A failure with a code of the closed set.  `detail` shows both sides and the way out."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[Fault] = (),
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status or CODES[code].status, detail, dict(headers) if headers else None)
        self.code = code
        self.errors = tuple(errors)


def not_found(kind: str, name: str) -> ApiError:
    """The same answer for what never was and for what belongs to somebody else."""
    return ApiError("not_found", f"there is no {kind} {name!r}")


def closest(name: str, known: Iterable[str], *, label: str = "known") -> str:
    """The tail of a message about an unknown name: the nearest known one, or the known ones."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    if near:
        return f"closest: {near[0]!r}"
    return f"{label}: {', '.join(names[:20])}" if names else f"{label}: none"


def problem(
    scope: Mapping[str, Any],
    code: str,
    detail: str,
    *,
    errors: Sequence[Fault] = (),
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer itself.  Usable from any layer: it needs the ASGI scope alone."""
    status = status or CODES[code].status
    title = CODES[code].title if status == CODES[code].status else HTTPStatus(status).phrase
    body = {
        "type": f"urn:assay:error:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": scope.get("path", ""),
        "code": code,
        "request_id": scope.get("state", {}).get("request_id"),
        "errors": [asdict(e) for e in errors],
    }
    content = orjson.dumps(body, default=str) if _encodable(body) else orjson.dumps(_clean(body))
    return Response(content, status, dict(headers) if headers else None, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Turn every exception an endpoint may let through into a problem."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(AssayError, _assay_error)
    for kind in (OperationalError, InterfaceError, PoolTimeout, DBAPIError):
        app.add_exception_handler(kind, _database)


def of_exception(scope: Mapping[str, Any], error: BaseException) -> Response:
    """The problem of an exception nobody handled: a lost database is 503, everything else is a bug and says nothing."""
    if isinstance(error, (DatabaseUnavailable, OperationalError, InterfaceError, PoolTimeout)):
        return _unavailable(scope, error)
    log.error("unhandled %s at %s", type(error).__name__, scope.get("path"), exc_info=error)
    return problem(scope, "internal", "an unexpected error; the log holds the details under this request_id")


def of_spec_error(error: SpecError) -> ApiError:
    """A job request the core refused."""
    code = error.code if error.code in CODES else "validation_error"
    return ApiError(code, str(error), errors=[Fault(error.pointer, code, str(error))])


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return problem(
        request.scope,
        error.code,
        error.detail,
        errors=error.errors,
        status=error.status_code,
        headers=error.headers,
    )


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 400:  # the router's own word for bytes that are no text, where JSON is expected
        return problem(request.scope, "validation_error", "the body is not JSON in UTF-8")
    code = _BY_STATUS.get(error.status_code, "validation_error" if error.status_code < 500 else "internal")
    headers = dict(error.headers or {})
    if error.status_code == 405:
        allowed = _allowed(request)
        headers["Allow"] = ", ".join(allowed)
        detail = f"{request.method} is not possible at {request.url.path}; allowed: {', '.join(allowed)}"
    elif error.status_code == 404:
        detail = f"there is nothing at {request.url.path}; /docs lists every path"
    else:
        detail = str(error.detail)
    return problem(request.scope, code, detail, status=error.status_code, headers=headers)


def _allowed(request: Request) -> list[str]:
    methods: set[str] = set()
    for route in request.app.router.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= set(getattr(route, "methods", None) or ())
    return sorted(methods)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [_fault(e) for e in error.errors()]
    first = faults[0] if faults else Fault("", "validation_error", "the request is not valid")
    detail = f"{first.pointer}: {first.message}" if first.pointer else first.message
    if len(faults) > 1:
        detail += f" (and {len(faults) - 1} more)"
    return problem(request.scope, "validation_error", detail, errors=faults)


def _fault(error: Mapping[str, Any]) -> Fault:
    place, *path = error["loc"]
    kind = str(error["type"])
    if kind == "json_invalid":
        return Fault("", kind, f"the body is not JSON: {error.get('ctx', {}).get('error')} at character {path[0]}")
    pointer = "".join(f"/{str(p).replace('~', '~0').replace('/', '~1')}" for p in path)
    if place != "body":
        pointer = {"query": "?", "header": "header:", "path": "path:"}.get(str(place), "") + "/".join(map(str, path))
    message = str(error["msg"]).removeprefix("Value error, ")  # how pydantic begins those of validators
    if kind == "missing":
        message = "is needed and missing"
    elif kind == "extra_forbidden":
        message = f"{path[-1]!r} is not a field here"
    elif "input" in error and isinstance(error["input"], (str, int, float, bool, type(None))):
        message = f"{message[0].lower()}{message[1:]}, not {_short(error['input'])}"
    return Fault(pointer, kind, message)


def _short(value: object) -> str:
    text = orjson.dumps(value).decode() if _encodable(value) else ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


async def _assay_error(request: Request, error: Exception) -> Response:
    if isinstance(error, SpecError):
        return await _api_error(request, of_spec_error(error))
    if isinstance(error, DataError):
        code = error.code if error.code in CODES else "schema_mismatch"
        pointer = "" if error.row is None else f"/rows/{error.row - 1}" + (f"/{error.column}" if error.column else "")
        return problem(request.scope, code, str(error), errors=[Fault(pointer, code, str(error))])
    return of_exception(request.scope, error)


async def _database(request: Request, error: Exception) -> Response:
    return of_exception(request.scope, error)


def _unavailable(scope: Mapping[str, Any], error: BaseException) -> Response:
    log.warning("the database does not answer: %s", type(error).__name__)
    detail = (
        "the database does not answer; nothing was changed by this request unless it was answered before, so repeat it"
    )
    return problem(scope, "capacity_unavailable", detail, headers={"Retry-After": "1"})


def _encodable(value: Any) -> bool:
    try:
        orjson.dumps(value, default=str)
    except (orjson.JSONEncodeError, UnicodeError):
        return False
    return True


def _clean(value: Any) -> Any:
    """Text that is not valid Unicode (lone surrogates) made harmless, so that an error about it can be sent."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {k: _clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(v) for v in value]
    return value
