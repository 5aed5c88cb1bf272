"""`/v1/api_keys`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from app import answers
from app.accounts import service
from app.accounts.schemas import ApiKey, ApiKeyOnce, ApiKeyPost
from app.deps import Caller, Live
from app.describe import answers as described
from app.errors import ApiError, Fault
from app.pages import After, Limit, page
from app.route import Route
from app.schemas import Page

router = APIRouter(route_class=Route, tags=["api keys"])
KeyId = Annotated[str, Path(description="`key_...`", examples=["key_0198d3f0c2a97c3f8a51f0a9a4d1c0de"])]
ADMIN = {"x-scope": "admin"}


@router.post(
    "/v1/api_keys",
    status_code=201,
    summary="Make an API key",
    responses=described(
        ApiKeyOnce,
        "validation_error",
        "idempotency_in_progress",
        "idempotency_key_reused",
        status=201,
        text="The key is shown this once",
        headers={"Location": "where the key is"},
    ),
    openapi_extra=ADMIN,
)
def create_key(request: Request, services: Live, caller: Caller, key: ApiKeyPost) -> Response:
    """Scopes: `read`, `write` (and read), `admin` (and both)."""
    if key.expires_at is not None and key.expires_at <= services.clock():
        text = f"lies in the past: {answers.time(key.expires_at)}"
        raise ApiError("validation_error", f"/expires_at: {text}", errors=[Fault("/expires_at", "in_the_past", text)])
    body, secret = service.create_key(
        services.engine,
        services.clock,
        owner=key.owner or caller.owner,
        name=key.name,
        scopes=key.scopes,
        expires_at=key.expires_at,
    )
    headers = {"Location": f"{services.settings.root_path}/v1/api_keys/{body['id']}", "Cache-Control": "no-store"}
    slot = getattr(request.state, "idempotency", None)
    if slot is not None:  # a replay tells of the key, but cannot show what is kept nowhere
        slot.store(answers.json({**body, "key": None}, 201, headers))
    return answers.json({**body, "key": secret}, 201, headers)


@router.get("/v1/api_keys", summary="List API keys", responses=described(Page[ApiKey]), openapi_extra=ADMIN)
def list_keys(services: Live, caller: Caller, limit: Limit = 20, after: After = None) -> Response:
    """Yours that were not revoked, newest first."""
    found = service.list_keys(services.engine, caller.owner, after, limit)
    return answers.json(page(found, limit, lambda r: service.to_json(r._mapping), lambda r: r.id))


@router.get(
    "/v1/api_keys/{key_id}", summary="Get an API key", responses=described(ApiKey, "not_found"), openapi_extra=ADMIN
)
def get_key(services: Live, caller: Caller, key_id: KeyId) -> Response:
    return answers.json(service.get_key(services.engine, caller.owner, key_id))


@router.delete(
    "/v1/api_keys/{key_id}",
    status_code=204,
    summary="Revoke an API key",
    responses=described(None, "not_found", status=204, text="It opens nothing any more"),
    openapi_extra=ADMIN,
)
def delete_key(services: Live, caller: Caller, key_id: KeyId) -> Response:
    service.revoke_key(services.engine, services.clock, caller.owner, key_id)
    services.authenticator.forget()
    return Response(status_code=204)
