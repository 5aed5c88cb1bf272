"""The way to the database: engines tuned per dialect, short transactions, migrations from code."""

from __future__ import annotations

import math
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from assay.errors import AssayError

BUSY = 10.0  # seconds a SQLite connection waits for the one writer
REST = 1.0  # seconds a Postgres connection may rest before it is asked whether it still lives
CONNECT = 2  # seconds to reach Postgres; libpq takes no less
MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
_MIGRATION_LOCK = 0x41535341  # "ASSA": key of the advisory lock that lets one process migrate at a time
_READ_ONLY: dict[str, dict[str, Any]] = {
    "sqlite": {"assay_read_only": True},
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
}
_GLANCE: dict[str, dict[str, Any]] = {
    "sqlite": {"assay_read_only": True},
    "postgresql": {"isolation_level": "AUTOCOMMIT"},
}
_PASSING = ("locked", "busy", "unable to open", "disk i/o", "disk is full", "readonly")  # SQLite's, that may pass


class DatabaseUnavailable(AssayError):
    """The database cannot be reached, or is too busy, just now: nothing is known to be written.  Try again."""

    code = "capacity_unavailable"


def normalise(url: str) -> str:
    """One spelling: `postgres://` and `postgresql://` mean psycopg 3, a bare path means a SQLite file."""
    if "://" not in url:
        return f"sqlite:///{url}"
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)


def make_engine(url: str, *, threads: int = 40) -> Engine:
    """An engine for up to `threads` threads at once.  Connecting happens later, at the first transaction."""
    url = normalise(url)
    kind = make_url(url).get_backend_name()
    json: dict[str, Any] = {"json_serializer": _dumps, "json_deserializer": orjson.loads}
    if kind == "sqlite":
        return _sqlite(url, threads, json)
    if kind == "postgresql":
        return _postgres(url, threads, json)
    raise ValueError(f"DATABASE_URL names {kind!r}; Assay keeps its rows in sqlite or postgresql")


@contextmanager
def transaction(engine: Engine, *, read_only: bool = False) -> Iterator[Connection]:
    """A connection with a transaction that commits at the end.  Raises DatabaseUnavailable.

    read_only: every statement sees the same moment, and SQLite's write lock is not taken; don't write in it.
    """
    with _opened(engine, _READ_ONLY[engine.dialect.name] if read_only else {}) as connection:
        yield connection


@contextmanager
def glance(engine: Engine) -> Iterator[Connection]:
    """A connection for reading where each statement may see a moment of its own.  Raises DatabaseUnavailable.

    Postgres answers a single statement two to three times as fast without BEGIN and COMMIT around it.
    """
    with _opened(engine, _GLANCE[engine.dialect.name]) as connection:
        yield connection


@contextmanager
def together(connection: Connection) -> Iterator[None]:
    """Writes whose results nobody looks at, sent to Postgres in one go instead of one by one."""
    if connection.dialect.name != "postgresql":
        yield
        return
    import psycopg

    try:
        with connection.connection.driver_connection.pipeline():  # type: ignore[union-attr]
            yield
    except psycopg.OperationalError as error:  # told at the end of the pipeline, past SQLAlchemy's own handling
        connection.invalidate()
        raise DatabaseUnavailable(f"the database does not answer: {_first_line(error)}") from error


@contextmanager
def session(engine: Engine, *, read_only: bool = False) -> Iterator[Session]:
    """An ORM session over one transaction that commits at the end.  Rows stay readable afterwards."""
    with transaction(engine, read_only=read_only) as connection:
        made = Session(connection, expire_on_commit=False, autoflush=True)
        try:
            yield made
            made.flush()
        finally:
            made.close()


@contextmanager
def _opened(engine: Engine, options: dict[str, Any]) -> Iterator[Connection]:
    try:
        with engine.connect() as connection:
            if options:
                connection = connection.execution_options(**options)
            with connection.begin():
                yield connection
    except (DBAPIError, PoolTimeout) as error:
        translated = _translated(error)
        if translated is error:
            raise
        raise translated from error


def migrate(url: str) -> None:
    """Bring the database to the newest schema; many processes may try at once.  Raises DatabaseUnavailable."""
    engine = make_engine(url, threads=1)
    try:
        with transaction(engine) as connection:
            upgrade(connection)
    finally:
        engine.dispose()


def upgrade(connection: Connection) -> None:
    """The same on an open transaction."""
    from alembic import command

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _dumps(value: Any) -> str:
    # orjson writes NaN and infinities as null, which is what Postgres can read back
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS).decode()


def _postgres(url: str, threads: int, json: dict[str, Any]) -> Engine:
    engine = create_engine(
        url,
        pool_size=min(10, threads),
        max_overflow=max(0, threads - 10),
        pool_timeout=5,
        pool_recycle=1800,
        connect_args={"connect_timeout": CONNECT, "keepalives_idle": 10, "tcp_user_timeout": 10_000},
        **json,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # a process that is frozen inside a transaction must not hold a job's lock for ever
        connection.autocommit = True
        connection.execute("SET idle_in_transaction_session_timeout = '15s'; SET lock_timeout = '10s'")
        connection.autocommit = False

    @event.listens_for(engine, "checkin")
    def rest(_connection: Any, record: Any) -> None:
        record.info["rested_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ping(connection: Any, record: Any, _proxy: Any) -> None:
        # as pool_pre_ping does, but not for one used a moment ago: it would double the time of short transactions
        if time.monotonic() - record.info.get("rested_since", math.inf) > REST and not _answers(connection):
            raise DisconnectionError("the server closed a connection that rested")

    return engine


def _answers(connection: Any) -> bool:
    try:
        connection.autocommit = True
        connection.execute("SELECT 1")
        connection.autocommit = False
    except Exception:  # whatever it says, a connection that cannot answer is of no use
        return False
    return True


def _sqlite(url: str, threads: int, json: dict[str, Any]) -> Engine:
    file = make_url(url).database
    if not file or file == ":memory:":
        raise ValueError("a SQLite database in memory belongs to one connection; name a file: sqlite:///assay.db")
    engine = create_engine(
        url,
        pool_size=min(10, threads),
        max_overflow=max(0, threads - 10),
        connect_args={"timeout": BUSY, "check_same_thread": False, "isolation_level": None},
        **json,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: Any) -> None:
        cursor = connection.cursor()
        if cursor.execute("PRAGMA page_count").fetchone()[0] == 0:  # counts only before the first table; later it
            cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")  # changes nothing, but waits for the write lock
        _to_wal(cursor)
        for pragma in ("synchronous = NORMAL", "foreign_keys = ON", "temp_store = MEMORY", "cache_size = -16384"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("assay_read_only", False)
        # a deferred transaction that starts with a read cannot wait for the write lock later: it fails at once
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _to_wal(cursor: sqlite3.Cursor) -> None:
    for attempt in range(100):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:  # the switch of a new file does not wait for its turn by itself
            if attempt == 99 or "locked" not in str(error):
                raise
            time.sleep(0.05)


def _translated(error: Exception) -> Exception:
    if isinstance(error, PoolTimeout):
        return DatabaseUnavailable("all database connections are in use; try again in a moment")
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return DatabaseUnavailable("the connection to the database broke; try again in a moment")
    if isinstance(error, OperationalError | InterfaceError):
        said = _first_line(error.orig)
        if not isinstance(error.orig, sqlite3.Error) or any(word in said.lower() for word in _PASSING):
            return DatabaseUnavailable(f"the database does not answer: {said}")
    return error


def _first_line(error: BaseException | None) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason given")
