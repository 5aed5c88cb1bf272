"""The time of the service: aware UTC.  It is handed to what needs it, so that tests turn the hands themselves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)
