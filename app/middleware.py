"""What every request passes through, as pure ASGI: identity, log and headers; host and origin; the size of the body.

Order, from the outside: Envelope (request id, access log, security headers, last resort for bugs) > Gate (host,
origin) > BodyLimit > the application.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import ApiError, of_exception, problem
from app.logs import bind

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
MIB = 1 << 20
CSP = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
_HEADERS = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,100}")
access = logging.getLogger("assay.access")

# (method, route, status, seconds)
Observe = Callable[[str, str, int, float], None]


class Envelope:
    """Gives a request its id, logs how it ended, and answers 500 as a problem where nobody else answered."""

    def __init__(self, app: ASGIApp, observe: Observe) -> None:
        self.app = app
        self.observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        bind(request_id=request_id)
        status = 0
        sent = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"] = list(message.get("headers", ()))
                own = {name for name, _ in headers}
                headers.append((b"x-request-id", request_id.encode()))
                headers.extend(pair for pair in _HEADERS if pair[0] not in own)
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception as error:
            if status:
                raise  # half an answer is out: the server closes the connection
            await of_exception(scope, error)(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unmatched")
            self.observe(scope["method"], route, status, seconds)
            if access.isEnabledFor(logging.INFO):
                access.info(
                    "%s %s %d",
                    scope["method"],
                    scope["path"],
                    status,
                    extra={"ms": round(seconds * 1000, 2), "bytes": sent, "client": (scope.get("client") or ("",))[0]},
                )


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return bytes(value).decode()
    return secrets.token_hex(12)


class Gate:
    """Refuses a foreign Host on every request, and a foreign Origin on one that changes something.

    Names of hosts in the list are compared without the port; `*` lets every host in.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], origins: Iterable[str] = ()) -> None:
        self.app = app
        self.hosts = frozenset(h.lower().strip("[]") for h in hosts)
        self.origins = frozenset(o.rstrip("/").lower() for o in origins if o)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self.app(scope, receive, send)
        else:
            await problem(scope, "forbidden", refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if "*" not in self.hosts and host_name(host) not in self.hosts:
            return f"the host {host!r} is not one of this server's names; set ASSAY_ALLOWED_HOSTS to allow it"
        if scope["method"] in SAFE:
            return None
        origin = headers.get(b"origin")
        if origin is not None:
            text = origin.decode("latin-1").lower()
            if urlsplit(text).netloc != host and text not in self.origins:
                return f"a page of {text!r} may not change anything here; the origin must be this server's"
        elif headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site"):
            return "a page of another site may not change anything here"
        return None


def host_name(host: str) -> str:
    """The name in a Host header, without the port: `[::1]:80` -> `::1`."""
    if host.startswith("["):
        return host[1:].split("]")[0]
    return host.rsplit(":", 1)[0] if ":" in host else host


class BodyLimit:
    """413 for a body that is announced as, or turns out to be, longer than its path allows."""

    def __init__(self, app: ASGIApp, limit_of: Callable[[str, str], int]) -> None:
        self.app = app
        self.limit_of = limit_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in SAFE:
            await self.app(scope, receive, send)
            return
        limit = self.limit_of(scope["method"], scope["path"])
        announced = next((v for n, v in scope["headers"] if n == b"content-length"), b"0")
        if announced.isdigit() and int(announced) > limit:
            error = _too_large(limit, int(announced))
            answer = problem(scope, error.code, error.detail, headers={"Connection": "close"})
            await answer(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _too_large(limit, received)
            return message

        await self.app(scope, counted, send)


def _too_large(limit: int, size: int) -> ApiError:
    text = f"the body has {size:,} bytes or more; at most {limit:,} are allowed here"
    return ApiError("dataset_too_large", text, headers={"Connection": "close"})


def body_limits(max_upload_bytes: int) -> Callable[[str, str], int]:
    """(method, path) -> bytes: uploads may be as large as configured, predictions 64 MiB, everything else 1 MiB."""

    def limit_of(method: str, path: str) -> int:
        if (method == "POST" and path.endswith("/v1/datasets")) or (method == "PATCH" and "/v1/uploads/" in path):
            return max_upload_bytes
        if path.endswith(("/predict", "/explain")) or path.startswith("/v2/"):
            return 64 * MIB
        return MIB

    return limit_of


def add(app: Any, *, hosts: Iterable[str], origins: Iterable[str], max_upload_bytes: int, observe: Observe) -> None:
    """Wrap the application; the last one added is the outermost."""
    app.add_middleware(BodyLimit, limit_of=body_limits(max_upload_bytes))
    app.add_middleware(Gate, hosts=tuple(hosts), origins=tuple(origins))
    app.add_middleware(Envelope, observe=observe)
