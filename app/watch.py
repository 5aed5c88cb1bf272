"""What changes and is polled: wait for the next state, or say that there is none that the client has not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from app import answers, etag
from app.longpoll import Changes


@dataclass(frozen=True)
class State:
    """revision: what `Changes` compares.  tag: the entity tag of `body`.  ended: nothing will change any more."""

    body: Any
    revision: str
    tag: str
    ended: bool


async def polled(
    request: Request, changes: Changes, kind: str, id: str, wait: float, read: Callable[[], State]
) -> Response:
    """The state that `read` gives, as JSON with its tag; 304 if it is the one in If-None-Match.

    wait: seconds to wait for the next state, unless this one has ended or is newer than that in If-None-Match.
    """
    state = await run_in_threadpool(read)
    seen = request.headers.get("if-none-match")
    if wait > 0 and not state.ended and (seen is None or etag.matches(seen, state.tag)):
        await changes.wait(kind, id, state.revision, wait)
        state = await run_in_threadpool(read)
    if etag.matches(seen, state.tag):
        return etag.not_modified(state.tag)
    return answers.json(state.body, headers={"ETag": state.tag})
