"""The route every endpoint of `/v1` is made with: key and scope first, then names of query parameters, then once only.

Options an endpoint gives in `openapi_extra`: `x-scope` ("read", "write", "admin" or "public"; by default read for GET and
write for the rest).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.accounts.audit_log import record
from app.errors import ApiError, Fault, closest
from app.idempotency import once
from app.logs import bind
from app.middleware import SAFE


class Route(APIRoute):
    """An APIRoute with the rules that hold for all of them."""

    @property
    def scope(self) -> str:
        return scope_of(self)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()
        names = frozenset(query_names(self.dependant))
        scope = scope_of(self)
        posts = "POST" in (self.methods or ())

        async def handle(request: Request) -> Response:
            if scope != "public":
                services = request.app.state.services
                principal = await services.authenticator(request)
                if not principal.may(scope):
                    has = ", ".join(sorted(principal.scopes)) or "none"
                    raise ApiError("forbidden", f"this needs the scope {scope!r}; the key has: {has}")
                request.state.principal = principal
            if request.scope["query_string"]:
                check_query(request.scope["query_string"], names)
            if request.path_params:
                bind(**{k.removesuffix("_id"): str(v)[:80] for k, v in request.path_params.items()})
            if posts and scope != "public":
                services.limiter.check(principal.owner)
                answer = await once(request, services.engine, services.clock, principal.owner, inner)
            else:
                answer = await inner(request)
            changed = scope in ("write", "admin") and request.method not in SAFE and answer.status_code < 400
            if changed and "idempotent-replayed" not in answer.headers:
                await run_in_threadpool(
                    record, services.engine, services.clock, principal, request, self.name, answer.status_code
                )
            return answer

        return handle


def query_names(dependant: Dependant) -> set[str]:
    """Names of all query parameters of an endpoint and of what it depends on."""
    names = {p.alias for p in dependant.query_params}
    return names.union(*(query_names(d) for d in dependant.dependencies))


def scope_of(route: APIRoute) -> str:
    """What a key must allow to use a route."""
    asked = (route.openapi_extra or {}).get("x-scope")
    return str(asked) if asked else ("read" if set(route.methods or ()) <= SAFE else "write")


def check_query(query: bytes, known: frozenset[str]) -> None:
    """Raises validation_error for a parameter the route does not have."""
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in known:
            message = f"{name!r} is not a query parameter here; {closest(name, known)}"
            raise ApiError("validation_error", message, errors=[Fault(f"?{name}", "unknown_parameter", message)])
