"""Ids: a prefix that names the kind and a UUIDv7, so that ids sort by the time they were made."""

from __future__ import annotations

import os
import re
import threading
import time

PREFIXES = frozenset({"ds", "upl", "job", "mdl", "prd", "key", "whk", "dlv", "evt", "req"})
_ID = re.compile(r"([a-z]{2,4})_[0-9a-f]{32}")

_lock = threading.Lock()
_last = 0  # the last 60 bits of time given out: milliseconds and a 12-bit counter


def new_id(prefix: str) -> str:
    """`job_0199…`: rising within a process, even inside one millisecond and when the clock steps back."""
    if prefix not in PREFIXES:
        raise ValueError(f"{prefix!r} is not a kind of id; known are {', '.join(sorted(PREFIXES))}")
    return f"{prefix}_{_uuid7():032x}"


def is_id(prefix: str, text: str) -> bool:
    """Whether text is written like an id of that kind; says nothing about whether it exists."""
    match = _ID.fullmatch(text)
    return match is not None and match.group(1) == prefix


def _uuid7() -> int:
    """RFC 9562, method 1 of section 6.2: 48 bits of Unix milliseconds, 12 bits of counter, 62 random bits."""
    global _last
    with _lock:
        _last = max(_last + 1, time.time_ns() // 1_000_000 << 12)
        stamp = _last
    random = int.from_bytes(os.urandom(8)) & (1 << 62) - 1
    return (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | random
