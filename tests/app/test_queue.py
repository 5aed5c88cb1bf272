"""Doorbells ring, and never hurt when nobody is at home."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from app.queue import TASK, CeleryBell, LocalBell, NoBell, lane_queues, listen, make_bell, worker_options


def test_a_ring_is_heard_once_by_the_worker_of_its_lane(tmp_path: Path) -> None:
    bell = LocalBell(tmp_path)
    with listen(tmp_path, "cpu") as cpu, listen(tmp_path, "gpu") as gpu:
        assert not cpu.wait(0.0)
        for _ in range(500):  # more than the inbox holds: nobody waits
            bell.ring("cpu")
        assert cpu.wait(5.0)
        assert not cpu.wait(0.0)
        assert not gpu.wait(0.0)
    bell.close()


def test_a_ring_without_a_worker_is_lost_in_silence(tmp_path: Path) -> None:
    bell = LocalBell(tmp_path / "nowhere")
    bell.ring("cpu")
    bell.close()


def test_a_worker_that_comes_back_hears_again(tmp_path: Path) -> None:
    bell = LocalBell(tmp_path)
    with listen(tmp_path, "cpu"):
        pass
    bell.ring("cpu")
    with listen(tmp_path, "cpu") as ear:
        assert not ear.wait(0.0)
        bell.ring("cpu")
        assert ear.wait(5.0)
    bell.close()


def test_a_folder_too_deep_for_a_socket_works_too(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    bell = LocalBell(deep)
    with listen(deep, "cpu") as ear:
        bell.ring("cpu")
        assert ear.wait(5.0)
    bell.close()


@pytest.mark.parametrize("listening", [False, True], ids=["closed", "silent"])
def test_a_broker_that_is_away_costs_little_and_raises_nothing(
    listening: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listening:
            server.listen()
        bell = CeleryBell(f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        began = time.monotonic()
        with caplog.at_level(logging.WARNING):
            bell.ring("cpu")
            bell.ring("cpu")
        assert time.monotonic() - began < 6
        assert "could not be reached" in caplog.text
        bell.close()


def test_a_ring_is_heard_by_every_worker_of_the_lane(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from kombu import Connection, Consumer

    monkeypatch.setattr("app.queue.KEY_PREFIX", f"test-{time.time_ns()}:")  # a broker may be shared
    heard: list[tuple[int, str]] = []

    def worker(number: int, lane: int) -> Consumer:
        def on_message(body: object, message: Any) -> None:
            heard.append((number, str(message.headers["task"])))
            message.ack()

        connection = Connection(redis_url, transport_options=worker_options())
        consumer = Consumer(connection, [lane_queues()[lane]], callbacks=[on_message], accept=["json"])
        consumer.consume()
        return consumer

    def listen_all() -> None:
        for consumer in (cpu, another, gpu):
            with contextlib.suppress(socket.timeout):  # raised when nothing more comes
                while True:
                    consumer.connection.drain_events(timeout=0.5)

    cpu, another, gpu = worker(0, 0), worker(1, 0), worker(2, 1)
    bell = CeleryBell(redis_url)
    try:
        listen_all()  # it is now that they subscribe
        bell.ring("cpu")
        listen_all()
        assert heard == [(0, TASK), (1, TASK)]
    finally:
        bell.close()
        for consumer in (cpu, another, gpu):
            consumer.connection.release()


def test_the_bell_fits_how_the_service_runs(tmp_path: Path) -> None:
    kinds = [
        (Settings(home=tmp_path), LocalBell),
        (Settings(home=tmp_path, database_url="postgresql://h/d"), NoBell),
        (Settings(home=tmp_path, database_url="postgresql://h/d", redis_url="redis://127.0.0.1:1/0"), CeleryBell),
    ]
    for settings, kind in kinds:
        bell = make_bell(settings)
        assert type(bell) is kind
        bell.ring("cpu") if kind is NoBell else None
        bell.close()
