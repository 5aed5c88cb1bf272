"""The way to the database: both dialects behave alike, and a database that is away says so in time."""

from __future__ import annotations

import socket
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import IntegrityError

from app.db.engine import DatabaseUnavailable, glance, make_engine, migrate, normalise, session, together, transaction
from app.db.tables import EventRow, JobRow, UploadRow, WorkerRow, table

MOMENT = datetime(2026, 5, 17, 12, 30, 15, 123456, tzinfo=UTC)


def worker(name: str, seen: datetime = MOMENT) -> WorkerRow:
    row = {"id": name, "lane": "cpu", "slots": 1, "busy": 0, "devices": [{"x": 1}], "version": "1"}
    return WorkerRow(**row, started_at=seen, seen_at=seen)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("postgres://u:p@h:1/d", "postgresql+psycopg://u:p@h:1/d"),
        ("postgresql://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
        ("sqlite:////tmp/a.db", "sqlite:////tmp/a.db"),
        ("/tmp/a.db", "sqlite:////tmp/a.db"),
    ],
)
def test_every_spelling_of_an_address_is_understood(given: str, meant: str) -> None:
    assert normalise(given) == meant


def test_other_databases_and_memory_are_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match=r"'mysql'.*sqlite or postgresql"):
        make_engine("mysql://h/d")
    for url in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(ValueError, match="sqlite:///assay.db"):
            make_engine(url)


def test_times_come_back_as_aware_utc(engine: Engine) -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    with session(engine) as s:
        s.add(worker("w", MOMENT.astimezone(east)))
    with session(engine, read_only=True) as s:
        row = s.get_one(WorkerRow, "w")
        assert row.seen_at == MOMENT and row.seen_at.tzinfo is UTC
        later = select(WorkerRow.id).where(WorkerRow.seen_at > MOMENT - timedelta(microseconds=1))
        assert s.scalars(later).all() == ["w"]


def test_times_without_a_zone_are_refused(engine: Engine) -> None:
    with pytest.raises(Exception, match="no time zone"), session(engine) as s:
        s.add(worker("w", datetime(2026, 1, 1)))


def test_numbers_json_cannot_say_become_null(engine: Engine) -> None:
    with session(engine) as s:
        row = worker("w")
        row.devices = [float("nan"), float("inf"), 1.5, "ü\0"]
        s.add(row)
    with session(engine, read_only=True) as s:
        assert s.get_one(WorkerRow, "w").devices == [None, None, 1.5, "ü\0"]


def test_an_error_rolls_everything_back(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError), session(engine) as s:
        s.add(worker("w"))
        s.flush()
        raise ZeroDivisionError
    with session(engine, read_only=True) as s:
        assert s.get(WorkerRow, "w") is None


def test_a_broken_rule_is_not_taken_for_a_database_that_is_away(engine: Engine) -> None:
    with session(engine) as s:
        s.add(worker("w"))
    with pytest.raises(IntegrityError), session(engine) as s:
        s.add(worker("w"))
    event = {"job_id": "job_none", "seq": 1, "type": "t", "data": {}, "created_at": MOMENT}
    with pytest.raises(IntegrityError), transaction(engine) as connection:
        connection.execute(insert(EventRow).values(**event))


def test_what_is_sent_together_is_written_together(engine: Engine) -> None:
    workers = table(WorkerRow)
    rows = [{c.name: getattr(worker(name), c.name) for c in workers.c} for name in "abc"]
    with transaction(engine) as connection, together(connection):
        connection.execute(insert(workers).inline(), rows)
        connection.execute(workers.update().where(workers.c.id == "b").values(slots=7))
    with glance(engine) as connection:
        assert dict(connection.execute(select(workers.c.id, workers.c.slots)).all()) == {"a": 1, "b": 7, "c": 1}


def test_a_mistake_in_what_is_sent_together_undoes_all_of_it(engine: Engine) -> None:
    workers = table(WorkerRow)
    row = {c.name: getattr(worker("a"), c.name) for c in workers.c}
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"), transaction(engine) as connection:  # noqa: SIM117
        with together(connection):
            connection.execute(insert(workers).inline(), [row])
            connection.execute(insert(workers).inline(), [row])
    with glance(engine) as connection:
        assert connection.execute(select(workers)).all() == []


def test_reading_does_not_wait_for_a_writer(engine: Engine) -> None:
    with session(engine) as s:
        s.add(worker("w"))
    with transaction(engine) as writing:
        writing.execute(table(WorkerRow).update().values(slots=9))
        began = time.monotonic()
        for read in (lambda: transaction(engine, read_only=True), lambda: glance(engine)):
            with read() as reading:
                assert reading.scalar(select(WorkerRow.slots)) == 1
        assert time.monotonic() - began < 5


def test_a_reading_transaction_sees_one_moment(engine: Engine) -> None:
    with session(engine) as s:
        s.add(worker("w"))
    with transaction(engine, read_only=True) as reading:
        assert reading.scalar(select(WorkerRow.slots)) == 1
        with transaction(engine) as writing:
            writing.execute(table(WorkerRow).update().values(slots=9))
        assert reading.scalar(select(WorkerRow.slots)) == 1
    with glance(engine) as reading:
        assert reading.scalar(select(WorkerRow.slots)) == 9


def test_many_threads_write_without_an_error(engine: Engine) -> None:
    with session(engine) as s:
        s.add(worker("w"))
    errors: list[BaseException] = []

    def count() -> None:
        try:
            for _ in range(10):
                with transaction(engine) as connection:
                    slots = connection.scalar(select(WorkerRow.slots).with_for_update())
                    connection.execute(table(WorkerRow).update().values(slots=slots + 1))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=count) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    with session(engine, read_only=True) as s:
        assert s.get_one(WorkerRow, "w").slots == 121


def test_a_server_that_is_away_is_told_at_once() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]  # nobody listens here
    engine = make_engine(f"postgresql://postgres@127.0.0.1:{port}/x")
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match="does not answer"), transaction(engine):
        pass
    assert time.monotonic() - began < 2


def test_a_server_that_says_nothing_is_given_up_after_two_seconds() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        engine = make_engine(f"postgresql://postgres@127.0.0.1:{silent.getsockname()[1]}/x")
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable), transaction(engine):
            pass
        assert time.monotonic() - began < 4


def test_a_connection_the_server_closed_is_replaced(database_url: str) -> None:
    engine, other = make_engine(database_url), make_engine(database_url)
    kill = text("SELECT pg_terminate_backend(:pid)")

    def pid() -> int:
        with transaction(engine) as connection:
            return int(connection.scalar(text("SELECT pg_backend_pid()")) or 0)

    def rest_and_kill(seconds: float) -> int:
        victim = pid()
        with glance(other) as connection:
            connection.execute(kill, {"pid": victim})
        time.sleep(seconds)
        return victim

    victim = rest_and_kill(1.1)
    assert pid() != victim  # after a rest it is asked first, and replaced without a word
    victim = rest_and_kill(0.05)
    with pytest.raises(DatabaseUnavailable):  # used a moment ago: told once ...
        pid()
    assert pid() != victim  # ... and then replaced
    for made in (engine, other):
        made.dispose()


def test_a_connection_that_dies_in_the_middle_of_sending_is_replaced(database_url: str) -> None:
    migrate(database_url)
    engine, other = make_engine(database_url), make_engine(database_url)
    with pytest.raises(DatabaseUnavailable), transaction(engine) as connection:
        victim = connection.scalar(text("SELECT pg_backend_pid()"))
        with glance(other) as second:
            second.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": victim})
        time.sleep(0.05)
        with together(connection):
            connection.execute(table(WorkerRow).delete())
            connection.execute(table(JobRow).delete())
    with transaction(engine) as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    for made in (engine, other):
        made.dispose()


def test_a_file_that_cannot_be_opened_is_a_database_that_is_away(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'nowhere' / 'assay.db'}")
    with pytest.raises(DatabaseUnavailable, match="unable to open"), transaction(engine):
        pass


def test_a_missing_table_is_our_mistake_and_no_outage(sqlite_url: str) -> None:
    engine = make_engine(sqlite_url)
    with pytest.raises(Exception, match="no such table") as caught, transaction(engine) as connection:
        connection.execute(select(UploadRow))
    assert not isinstance(caught.value, DatabaseUnavailable)
    engine.dispose()


def test_sqlite_is_set_up_for_many_processes(sqlite_url: str) -> None:
    engine = make_engine(sqlite_url)
    with transaction(engine) as connection:
        found = {p: connection.scalar(text(f"PRAGMA {p}")) for p in ("journal_mode", "foreign_keys", "busy_timeout")}
        assert found == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 10_000}
        assert connection.scalar(text("PRAGMA auto_vacuum")) == 2
    engine.dispose()
