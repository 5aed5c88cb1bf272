"""Training children: warm, without secrets, killable as a group."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from workers.child import Child, prepare_server


@pytest.fixture(scope="module")
def server() -> None:
    os.environ["DATABASE_URL"] = "postgresql://user:hunter2@nowhere/x"
    try:
        prepare_server(preload=False)
        assert os.environ["DATABASE_URL"].endswith("nowhere/x"), "the worker itself keeps its settings"
    finally:
        del os.environ["DATABASE_URL"]


@pytest.fixture
def child(server: None) -> Iterator[Child]:
    made = Child()
    made.wait_ready()
    yield made
    made.close()


def test_a_child_knows_no_secret_and_leads_its_own_session(child: Child) -> None:
    child.ask("warm")
    answer = child.hear(30)
    assert answer is not None
    assert "DATABASE_URL" not in answer["done"]["environment"]
    assert os.getsid(child.pid) == child.pid
    assert child.resident_bytes() > 1 << 20


def test_a_request_nobody_knows_fails_and_the_child_lives(child: Child) -> None:
    child.ask("dance")
    answer = child.hear(30)
    assert answer is not None and "failed" in answer
    child.ask("warm")
    assert child.hear(30) is not None


def test_a_killed_child_is_noticed_at_once(child: Child) -> None:
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises((EOFError, OSError)):
        child.hear(10)
    assert child.exit_code == -signal.SIGKILL


def test_close_leaves_no_process(child: Child) -> None:
    pid = child.pid
    child.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("the process is still there")
