"""Logs: one JSON object a line (or plain text), each with the request, job and trial it belongs to; secrets never."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import orjson

# what the present request or piece of work is about; every record of the context carries it
_context: ContextVar[dict[str, str] | None] = ContextVar("log_context", default=None)

_SECRET = re.compile(r"(ask_[A-Za-z0-9_-]{6})[A-Za-z0-9_-]+|(?<=://)([^/\s:@]+):[^/\s@]+(?=@)|(?i:(bearer\s+))\S+")
_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def configure(log_format: str = "json", level: int | str = logging.INFO) -> None:
    """Send every logger of the process to stderr in one form: "json", or "console" for people."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True  # `assay.access` says the same, with the request's id


@contextmanager
def bound(**ids: str) -> Iterator[None]:
    """Records inside carry these ids, e.g. `bound(job="job_1", trial="3")`."""
    token = _context.set({**(_context.get() or {}), **ids})
    try:
        yield
    finally:
        _context.reset(token)


def bind(**ids: str) -> None:
    """The same until the context (a request's task) ends."""
    _context.set({**(_context.get() or {}), **ids})


def redact(text: str) -> str:
    """API keys, bearer tokens and passwords in URLs made unreadable."""
    return _SECRET.sub(_mask, text)


def _mask(match: re.Match[str]) -> str:
    key, user, bearer = match.groups()
    if key:
        return f"{key}***"
    return f"{user}:***" if user else f"{bearer}***"


class JsonFormatter(logging.Formatter):
    """time, level, logger, message, the ids of the context, and whatever `extra` holds."""

    def format(self, record: logging.LogRecord) -> str:
        body: dict[str, Any] = {
            "time": _stamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
            **(_context.get() or {}),
        }
        for key, value in vars(record).items():
            if key not in _RESERVED:
                body[key] = redact(value) if isinstance(value, str) else value
        if record.exc_info:
            body["exception"] = redact(self.formatException(record.exc_info))
        return orjson.dumps(body, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY).decode()


class TextFormatter(logging.Formatter):
    """The same for people at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        ids = {**(_context.get() or {}), **{k: v for k, v in vars(record).items() if k not in _RESERVED}}
        tail = " ".join(f"{k}={v}" for k, v in ids.items())
        text = f"{_stamp(record.created)} {record.levelname:<7} {record.name}: {record.getMessage()}"
        text = f"{text}  [{tail}]" if tail else text
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return redact(text)


def _stamp(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
