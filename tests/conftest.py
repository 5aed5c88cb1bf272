"""What every test may ask for: databases and a broker, real ones, started when the first test wants them."""

from __future__ import annotations

import os

# Before numpy, torch or lightgbm load OpenMP, which reads these once; with its defaults parallel fits crawl.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests import services


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Share tests out among processes by what they have in common, the longest first (`--dist loadgroup`).

    All that drive the one embedded service stay in one process, and so do all checks of one family, whose toys are
    fitted once.  A group that is long and comes last would leave the other processes idle.
    """
    if config.getoption("dist", "no") != "loadgroup":
        return
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=lambda item: next(i for i, part in enumerate(LONGEST_FIRST) if part in item.nodeid))


LONGEST_FIRST = ("tests/e2e/", "[vit]", "tests/search_spaces/", "")


def _group(item: pytest.Item) -> str:
    file = item.nodeid.split("::", 1)[0]
    if file.startswith("tests/e2e/"):
        return "e2e"
    named = getattr(item, "callspec", None)
    name = named.params.get("name") if named is not None and item.parent is not item.getparent(pytest.Module) else None
    return f"{file}:{name}" if isinstance(name, str) else file


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real Postgres, one for the session (and for each xdist worker).  Its user may create databases."""
    yield from _running(services.postgres())


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis or Valkey.  It may be shared: keys carry a prefix of their own, and nobody flushes."""
    yield from _running(services.redis())


@pytest.fixture
def new_database(postgres_url: str) -> Iterator[Callable[..., str]]:
    """`new_database()` gives the URL of a fresh, empty database; `new_database(template=url)` a copy of another."""
    with ExitStack() as stack:
        yield lambda template=None: stack.enter_context(services.new_database(postgres_url, template))


@pytest.fixture
def database_url(new_database: Callable[..., str]) -> str:
    """A fresh, empty Postgres database of this test's own."""
    return new_database()


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> Iterator[str]:
    """A database with the newest schema, made once, to be copied only."""
    from app.db.engine import migrate

    with services.new_database(postgres_url) as url:
        migrate(url)
        yield url


@pytest.fixture
def migrated_database_url(new_database: Callable[..., str], migrated_template: str) -> str:
    """A Postgres database of this test's own with the newest schema and no rows."""
    return new_database(template=migrated_template)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A fresh SQLite file of this test's own; not there until somebody connects."""
    return f"sqlite:///{tmp_path / 'assay.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def any_database_url(request: pytest.FixtureRequest) -> str:
    """The test runs twice: on a fresh SQLite file and on a fresh, empty Postgres database."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "database_url"))


def _running(service: AbstractContextManager[str]) -> Iterator[str]:
    with ExitStack() as stack:
        try:
            url = stack.enter_context(service)
        except services.ServiceUnavailable as missing:
            if os.environ.get("REQUIRE_SERVICES") == "1":
                pytest.fail(f"REQUIRE_SERVICES=1, but {missing}", pytrace=False)
            pytest.skip(str(missing))
        yield url
