"""At most so many POSTs a minute and owner: a bucket of tokens for each, refilled steadily."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from time import monotonic

from app.errors import ApiError


class Limiter:
    """per_minute 0 means no limit.  A bucket holds a tenth of a minute's worth, and at least one."""

    def __init__(self, per_minute: int, now: Callable[[], float] = monotonic) -> None:
        self._rate = per_minute / 60.0  # tokens a second
        self._size = max(1.0, per_minute / 10.0)
        self._now = now
        self._buckets: dict[str, tuple[float, float]] = {}  # owner -> tokens, when counted
        self._lock = threading.Lock()

    def check(self, owner: str) -> None:
        """Take a token.  Raises rate_limited with the RateLimit headers."""
        if self._rate <= 0:
            return
        with self._lock:
            now = self._now()
            tokens, counted = self._buckets.get(owner, (self._size, now))
            tokens = min(self._size, tokens + (now - counted) * self._rate)
            allowed = tokens >= 1.0
            self._buckets[owner] = (tokens - 1.0 if allowed else tokens, now)
        if not allowed:
            wait = math.ceil((1.0 - tokens) / self._rate)
            raise ApiError(
                "rate_limited",
                f"more than {round(self._rate * 60)} POSTs a minute; try again in {wait} s",
                headers={
                    "Retry-After": str(wait),
                    "RateLimit-Limit": str(int(self._size)),
                    "RateLimit-Remaining": "0",
                    "RateLimit-Reset": str(wait),
                },
            )
