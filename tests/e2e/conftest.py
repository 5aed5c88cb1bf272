"""One embedded service for all tests that drive one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.service import stop_shared


@pytest.fixture(scope="session", autouse=True)
def _the_shared_service_ends() -> Iterator[None]:
    yield
    stop_shared()
