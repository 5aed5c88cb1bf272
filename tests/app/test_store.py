"""Jobs as rows keep what every store keeps, on SQLite and on Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from app.db.engine import make_engine, migrate, transaction
from app.db.tables import DatasetRow, table
from app.ids import new_id
from app.store import SqlStore
from assay.search.plan import Limits
from assay.testing.stores import DONE, StoreSuite
from tests.services import new_database


class Moving:
    """A clock whose hands the tests turn."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Rows(StoreSuite):
    @pytest.fixture(autouse=True)
    def prepared(self, request: pytest.FixtureRequest) -> Iterator[None]:
        self.url = request.getfixturevalue("url")
        migrate(self.url)
        self.clock = Moving()
        self.engine = make_engine(self.url)
        yield
        self.engine.dispose()

    def make(self, limits: Limits | None = None) -> tuple[SqlStore, str]:
        store = SqlStore(self.engine, self.clock)
        dataset = new_id("ds")
        row = {"id": dataset, "owner": "me", "name": "d", "status": "ready", "kind": "table", "version": 1, "bytes": 0}
        row |= {
            "columns": [],
            "overrides": {},
            "warnings": [],
            "tags": {},
            "created_at": self.clock(),
            "updated_at": self.clock(),
        }
        with transaction(self.engine) as connection:
            connection.execute(insert(table(DatasetRow)).values(**row))
        job = store.create_job(
            owner="me",
            name="j",
            dataset_id=dataset,
            request={},
            resolved={"strategy": "random"},
            spaces={},
            limits=limits or Limits(),
        )
        return store, job

    def pass_time(self, seconds: float) -> None:
        self.clock.now += timedelta(seconds=seconds)

    def test_events_have_no_gaps_and_counters_agree(self) -> None:
        store, job = self.make()
        self.queue(store, job, 3)
        for _ in range(3):
            store.finish(self.take(store), DONE)
        events = store.events(job)
        assert [e.seq for e in events] == list(range(1, len(events) + 1))
        assert sum(e.type == "trial.completed" for e in events) == 3

    def test_two_stores_see_the_same(self) -> None:
        store, job = self.make()
        other = SqlStore(self.engine, self.clock)
        for s in (store, other, store, other):
            self.queue(s, job, 1)
            s.finish(self.take(s), DONE)
            assert store.snapshot(job).trials == other.snapshot(job).trials


class TestSqlite(Rows):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'assay.db'}"


class TestPostgres(Rows):
    @pytest.fixture
    def url(self, postgres_url: str) -> Iterator[str]:
        with new_database(postgres_url) as url:
            yield url
