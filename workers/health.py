"""`python -m workers.health`: exit code 0 when a worker on this host has told the database lately that it lives."""

from __future__ import annotations

import socket
import sys
from datetime import UTC, datetime

from sqlalchemy import Engine

from app.config import Settings
from app.db.engine import DatabaseUnavailable, make_engine, transaction
from app.store_sql.workers import alive


def main() -> int:
    engine = make_engine(Settings.from_env().database_url, threads=1)
    try:
        problem = find_problem(engine, socket.gethostname(), datetime.now(UTC))
    finally:
        engine.dispose()
    if problem:
        print(problem, file=sys.stderr)
    return 1 if problem else 0


def find_problem(engine: Engine, host: str, now: datetime) -> str | None:
    """What is wrong with the workers of a host, or None."""
    try:
        with transaction(engine, read_only=True) as connection:
            names = [worker.id for worker in alive(connection, now)]
    except DatabaseUnavailable as error:
        return str(error)
    if any(name.split(":", 1)[0] == host for name in names):
        return None
    return f"no worker on {host} has been heard of lately; heard of: {', '.join(names) or 'none'}"


if __name__ == "__main__":
    sys.exit(main())
