"""Server-sent events over stored rows: resumable, without gap or duplicate, and no database session held while waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import StreamingResponse

from app.answers import dumps
from app.db.engine import DatabaseUnavailable

PING = 15.0  # seconds without news after which a comment keeps proxies from closing the stream
RETRY = 2000  # milliseconds a client waits before it connects again
BATCH = 500  # rows read at once
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


@dataclass(frozen=True)
class Event:
    """One row: its number is the id that `Last-Event-ID` resumes from."""

    seq: int
    type: str
    data: Any


@dataclass(frozen=True)
class Batch:
    """Events after a number, the tag of the state they were read in, and whether nothing can follow them."""

    events: Sequence[Event]
    tag: str
    ended: bool


def stream(
    after: int,
    read: Callable[[int, int], Awaitable[Batch]],
    changed: Callable[[str, float], Awaitable[bool]],
) -> StreamingResponse:
    """read(after, limit): a short transaction.  changed(tag, seconds): False when nothing happened in that time."""
    return StreamingResponse(_frames(after, read, changed), headers=_HEADERS, media_type="text/event-stream")


async def _frames(
    after: int,
    read: Callable[[int, int], Awaitable[Batch]],
    changed: Callable[[str, float], Awaitable[bool]],
) -> AsyncIterator[bytes]:
    yield f"retry: {RETRY}\n\n".encode()
    while True:
        try:
            batch = await read(after, BATCH)
        except DatabaseUnavailable:  # the stream outlives it: what was missed is read when the database is back
            await asyncio.sleep(1.0)
            yield b": ping\n\n"
            continue
        if batch.events:
            after = batch.events[-1].seq
            yield b"".join(map(frame, batch.events))
        if len(batch.events) == BATCH:
            continue
        if batch.ended:
            return
        if not await changed(batch.tag, PING):
            yield b": ping\n\n"


def frame(event: Event) -> bytes:
    """orjson writes no line breaks, so one `data:` line is enough."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), dumps(event.data))
