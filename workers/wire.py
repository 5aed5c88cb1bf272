"""What a worker and its training child say to each other: one JSON object a message, over a pipe.

Pickle is not used: a child runs plug-in code on foreign data, and its parent must not execute what it sends.
"""

from __future__ import annotations

import json
from multiprocessing.connection import Connection
from typing import Any


def send(pipe: Connection, message: dict[str, Any]) -> None:
    pipe.send_bytes(json.dumps(message, allow_nan=True).encode())


def receive(pipe: Connection) -> dict[str, Any]:
    """The next message; blocks.  Raises EOFError when the other side is gone."""
    message: dict[str, Any] = json.loads(pipe.recv_bytes())
    return message
