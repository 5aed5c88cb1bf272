"""Entity tags: 304 for what the client has, 412 for a change made on an old state, and byte ranges."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.errors import ApiError

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def strong(value: str) -> str:
    return f'"{value}"'


def weak(value: object) -> str:
    """For answers that also carry the time of day (elapsed seconds): equal in meaning, not in bytes."""
    return f'W/"{value}"'


def matches(header: str | None, tag: str) -> bool:
    """Whether a list of tags holds this one, by the weak comparison (RFC 9110, 8.8.3.2)."""
    if header is None:
        return False
    wanted = tag.removeprefix("W/")
    return any(t.strip() == "*" or t.strip().removeprefix("W/") == wanted for t in header.split(","))


def not_modified(tag: str) -> Response:
    return Response(status_code=304, headers={"ETag": tag})


def check_if_match(request: Request, tag: str) -> None:
    """Raises precondition_failed when the client changes a state that is no longer the present one."""
    header = request.headers.get("if-match")
    if header is not None and not matches(header, tag):
        raise ApiError("precondition_failed", f"If-Match has {header}, the present state is {tag}; read it again first")


def content(
    request: Request,
    *,
    size: int,
    sha256: str,
    media_type: str,
    filename: str,
    read: Callable[[int, int], Iterator[bytes]],
) -> Response:
    """Stored bytes with ETag = sha256, one Range, and a file name.  read(start, end) yields bytes [start, end)."""
    tag = strong(sha256)
    headers = {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": disposition(filename),
        "X-Checksum-SHA256": sha256,
    }
    if matches(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    span = _span(request, size, tag)
    start, end = span or (0, size)
    headers["Content-Length"] = str(end - start)
    if span is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    status = 206 if span is not None else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=media_type)
    return StreamingResponse(read(start, end), status, headers, media_type)


def _span(request: Request, size: int, tag: str) -> tuple[int, int] | None:
    """The asked range as [start, end); None for the whole: no Range, several ranges, or an If-Range of another state."""
    header = request.headers.get("range")
    if header is None or ("if-range" in request.headers and request.headers["if-range"] != tag):
        return None
    found = _RANGE.fullmatch(header.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if first == "":
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
    if start >= size or start >= end:
        raise ApiError(
            "validation_error",
            f"Range asks for {header}, the content has {size} bytes",
            status=416,
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, end


def disposition(filename: str) -> str:
    """Attachment with a name that is safe for every client (RFC 6266): plain letters, digits, dot, dash, underscore."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", filename).strip("._") or "download"
    return f'attachment; filename="{plain}"'
