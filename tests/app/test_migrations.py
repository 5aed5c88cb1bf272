"""The migrations make what the tables say, on both databases, from many processes at once."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from app.db.engine import alembic_config, make_engine, migrate, transaction
from app.db.tables import Base

ROOT = Path(__file__).parents[2]


def test_the_tables_and_the_migrations_agree(any_database_url: str) -> None:
    migrate(any_database_url)
    engine = make_engine(any_database_url)
    with transaction(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        command.check(alembic_config(connection))
    with engine.connect() as connection:
        assert set(Base.metadata.tables) <= set(inspect(connection).get_table_names())
    engine.dispose()


def test_migrating_again_changes_nothing_and_keeps_the_rows(any_database_url: str) -> None:
    migrate(any_database_url)
    engine = make_engine(any_database_url)
    now = text("INSERT INTO workers VALUES ('w', 'cpu', 1, 0, '[]', '1', '2026-01-01 00:00:00', '2026-01-01 00:00:00')")
    with transaction(engine) as connection:
        connection.execute(now)
    migrate(any_database_url)
    with transaction(engine, read_only=True) as connection:
        assert connection.scalar(text("SELECT count(*) FROM workers")) == 1
        assert connection.scalar(text("SELECT count(*) FROM alembic_version")) == 1
    engine.dispose()


def test_many_may_migrate_an_empty_database_at_once(any_database_url: str) -> None:
    script = "import sys; from app.db.engine import migrate; migrate(sys.argv[1])"

    def run(_: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script, any_database_url], cwd=ROOT, capture_output=True, text=True, timeout=60
        )

    with ThreadPoolExecutor(3) as pool:
        for done in pool.map(run, range(3)):
            assert done.returncode == 0, done.stderr
    engine = make_engine(any_database_url)
    with transaction(engine, read_only=True) as connection:
        assert connection.scalar(text("SELECT count(*) FROM alembic_version")) == 1
    engine.dispose()


def test_chunks_lie_outside_their_row_on_postgres(database_url: str) -> None:
    migrate(database_url)
    engine = make_engine(database_url)
    column = "attrelid = 'blob_chunks'::regclass AND attname = 'data'"
    with transaction(engine, read_only=True) as connection:
        assert connection.scalar(text(f"SELECT attstorage FROM pg_attribute WHERE {column}")) == "e"
    engine.dispose()


def test_people_may_use_the_alembic_command(sqlite_url: str) -> None:
    migrate(sqlite_url)
    alembic = Path(sys.executable).with_name("alembic")
    if not alembic.exists():
        pytest.skip("alembic's command is not installed beside Python")
    checked = subprocess.run(
        [alembic, "check"], cwd=ROOT, capture_output=True, text=True, env={"DATABASE_URL": sqlite_url}, timeout=60
    )
    assert checked.returncode == 0, checked.stderr
    assert "No new upgrade operations" in checked.stdout
