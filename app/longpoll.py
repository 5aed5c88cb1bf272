"""Waiting for a change without holding a thread or a connection: one shared query looks at all that is waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

INTERVAL = 0.15  # seconds between two looks
MAX_WAIT = 60.0  # seconds a long poll may last
CHUNK = 200  # ids in one query
log = logging.getLogger(__name__)

# ids -> the present tag of each that exists
Look = Callable[[Sequence[str]], Mapping[str, str]]


@dataclass(eq=False)
class _Waiter:
    seen: str | None
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Changes:
    """`wait` returns once something's tag differs from what the caller has seen.

    kinds: name -> the query that reads tags.  Nothing runs while nobody waits.
    """

    def __init__(self, kinds: Mapping[str, Look], interval: float = INTERVAL) -> None:
        self._kinds = dict(kinds)
        self._interval = interval
        self._waiting: dict[tuple[str, str], set[_Waiter]] = {}
        self._task: asyncio.Task[None] | None = None

    async def wait(self, kind: str, id: str, seen: str | None, seconds: float) -> bool:
        """True: the tag differs from `seen` (or the thing is gone).  False: the time is over."""
        waiter = _Waiter(seen)
        self._waiting.setdefault((kind, id), set()).add(waiter)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._poll())
        try:
            await asyncio.wait_for(waiter.woken.wait(), seconds)
            return True
        except TimeoutError:
            return False
        finally:
            waiters = self._waiting.get((kind, id), set())
            waiters.discard(waiter)
            if not waiters:
                self._waiting.pop((kind, id), None)

    async def close(self) -> None:
        """Wake everybody and stop: the server is going down."""
        for waiters in list(self._waiting.values()):
            for waiter in waiters:
                waiter.woken.set()
        if self._task is not None:
            self._task.cancel()

    async def _poll(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._interval)
            for kind, look in self._kinds.items():
                ids = [i for k, i in self._waiting if k == kind]
                for start in range(0, len(ids), CHUNK):
                    await self._look(kind, look, ids[start : start + CHUNK])

    async def _look(self, kind: str, look: Look, ids: Sequence[str]) -> None:
        try:
            tags = await run_in_threadpool(look, ids)
        except Exception as error:  # the database is away: waiters go on waiting until their time is over
            log.warning("cannot look for changes: %s", type(error).__name__)
            return
        for id in ids:
            for waiter in self._waiting.get((kind, id), ()):
                if tags.get(id) != waiter.seen:
                    waiter.woken.set()
