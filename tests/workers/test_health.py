"""The health check of worker containers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from app.db.engine import make_engine, migrate, transaction
from app.store_sql.workers import beat
from assay.search.store import LEASE
from workers import health

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def engine(sqlite_url: str) -> Iterator[Engine]:
    migrate(sqlite_url)
    made = make_engine(sqlite_url, threads=1)
    yield made
    made.dispose()


def test_a_worker_that_was_heard_of_within_a_lease_is_well_and_a_silent_one_is_not(engine: Engine) -> None:
    with transaction(engine) as connection:
        beat(connection, "machine-1:7:abc", "cpu", 2, 0, [], "0.1.0", NOW)
    assert health.find_problem(engine, "machine-1", NOW + timedelta(seconds=LEASE / 2)) is None
    assert "machine-1" in str(health.find_problem(engine, "machine-1", NOW + timedelta(seconds=LEASE * 2)))


def test_the_worker_of_another_machine_does_not_count(engine: Engine) -> None:
    with transaction(engine) as connection:
        beat(connection, "machine-10:7:abc", "cpu", 2, 0, [], "0.1.0", NOW)
    assert "heard of: machine-10:7:abc" in str(health.find_problem(engine, "machine-1", NOW))


def test_the_command_fails_and_says_why_when_the_database_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.delenv("ASSAY_DATABASE_URL", raising=False)
    assert health.main() == 1
    assert "database" in capsys.readouterr().err
