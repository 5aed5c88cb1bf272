"""`/docs` with no network: Swagger UI from an installed package, a page without inline script."""

from __future__ import annotations

import hashlib
import importlib.resources
from functools import cache

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from app.errors import ApiError

ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon-32x32.png": "image/png"}
START = """
window.addEventListener("load", () => {
  const here = document.currentScript || document.querySelector("script[data-spec]");
  window.ui = SwaggerUIBundle({ url: here.dataset.spec, dom_id: "#swagger-ui", deepLinking: true,
    displayRequestDuration: true, tryItOutEnabled: true, persistAuthorization: false });
});
"""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Assay API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="{root}/docs/assets/{tag}/favicon-32x32.png">
<link rel="stylesheet" href="{root}/docs/assets/{tag}/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="{root}/docs/assets/{tag}/swagger-ui-bundle.js"></script>
<script src="{root}/docs/assets/{tag}/start.js" data-spec="{root}/openapi.json"></script></body></html>
"""
router = APIRouter(include_in_schema=False)


@router.get("/")
async def home(request: Request) -> Response:
    return RedirectResponse(f"{request.scope.get('root_path', '')}/docs", 307)


@router.get("/docs")
async def docs(request: Request) -> Response:
    return HTMLResponse(PAGE.format(root=request.scope.get("root_path", ""), tag=_tag()))


@router.get("/docs/assets/{tag}/{name}")
async def asset(tag: str, name: str) -> Response:
    """Files under a name that changes with their content, so they may be kept for ever."""
    if name == "start.js":
        data, kind = START.encode(), "text/javascript"
    elif name in ASSETS:
        data, kind = _file(name), ASSETS[name]
    else:
        raise ApiError("not_found", f"there is no {name!r} here")
    keep = "public, max-age=31536000, immutable" if tag == _tag() else "no-cache"
    return Response(data, media_type=kind, headers={"Cache-Control": keep})


@cache
def _file(name: str) -> bytes:
    return (importlib.resources.files("fastapi_swagger.resources") / name).read_bytes()


@cache
def _tag() -> str:
    content = b"".join(_file(name) for name in sorted(ASSETS)) + START.encode()
    return hashlib.sha256(content).hexdigest()[:12]
