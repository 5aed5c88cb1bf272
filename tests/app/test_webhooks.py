"""Webhooks: told once it is written, signed, tried again, and never sent where they must not go."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, insert, select

from app.config import Settings
from app.db.engine import transaction
from app.db.tables import DatasetRow, DeliveryRow, WebhookRow, table
from app.errors import ApiError
from app.ids import new_id
from app.store import SqlStore
from app.store_sql import hooks
from app.webhooks import repository as rows
from app.webhooks.sender import LEASE, RETRIES, deliver_one, signature
from app.webhooks.service import check_url
from assay.search.lifecycle import JobStatus, StopReason
from assay.search.plan import FinishJob
from tests.app import running
from tests.app.conftest import Hands
from tests.app.test_store import new_job, queue

SECRET = f"whsec_{base64.b64encode(b'k' * 32).decode()}"
LOCAL = functools.partial(check_url, Settings.from_env({}))


class Receiver(ThreadingHTTPServer):
    """Somebody who is told: answers what `answer` says, and keeps what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receives)
        self.answer = 204
        self.came: list[tuple[dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook?a=b"


class Receives(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.came.append(({k.lower(): v for k, v in self.headers.items()} | {":path": self.path}, body))
        self.send_response(self.server.answer)
        self.send_header("Location", self.server.url)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return None


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def store(engine: Engine, clock: Hands) -> SqlStore:
    return SqlStore(engine, clock)


def hook(engine: Engine, url: str = "http://127.0.0.1:9/", **changes: Any) -> str:
    made = new_id("whk")
    row: dict[str, Any] = {"id": made, "owner": "me", "url": url, "secret": SECRET, "enabled": True, "description": ""}
    row |= {"events": hooks.spelled(["job.started", "job.failed", "dataset.ready", "dataset.failed"])}
    with transaction(engine) as connection:
        connection.execute(insert(table(WebhookRow)).values(**row | {"created_at": running_now()} | changes))
    return made


def running_now() -> Any:
    return Hands().now


def deliveries(engine: Engine) -> list[Any]:
    with transaction(engine, read_only=True) as connection:
        return list(connection.execute(select(table(DeliveryRow)).order_by(table(DeliveryRow).c.id)))


def started_job(store: SqlStore, **changes: Any) -> str:
    """A job whose first trial was claimed, which is told as job.started."""
    job = new_job(store, **changes)
    queue(store, job, 1)
    claim = store.claim("w", "cpu", 0)
    assert claim is not None and claim.ref == job
    return job


# -- what is told -----------------------------------------------------------------------------------------------------


def test_what_happens_is_told_to_those_of_its_owner_who_want_it(store: SqlStore, engine: Engine) -> None:
    mine, also = hook(engine), hook(engine)
    hook(engine, owner="somebody else")
    hook(engine, enabled=False)
    hook(engine, events=hooks.spelled(["job.succeeded", "model.ready"]))
    job = started_job(store)
    found = deliveries(engine)
    assert [(d.webhook_id, d.type) for d in found] == [(mine, "job.started"), (also, "job.started")]
    assert len({d.event_id for d in found}) == 1
    assert found[0].payload["data"]["job_id"] == job
    ended = FinishJob(JobStatus.FAILED, StopReason.TIME_LIMIT, "no trial completed")
    store.apply(job, store.snapshot(job).revision, [ended])
    (last, _) = deliveries(engine)[2:]
    assert last.payload["type"] == "job.failed"
    assert last.payload["data"]["error"] == {"code": "job_failed", "message": "no trial completed"}


@pytest.mark.parametrize("error", [None, {"code": "unsupported_format", "message": "no table"}])
def test_a_dataset_tells_whether_it_can_be_used(error: Any, store: SqlStore, engine: Engine, clock: Hands) -> None:
    hook(engine)
    dataset = new_id("ds")
    row = {
        "id": dataset,
        "owner": "me",
        "name": "d",
        "status": "validating",
        "created_at": clock(),
        "updated_at": clock(),
    }
    with transaction(engine) as connection:
        connection.execute(insert(table(DatasetRow)).values(**row))
        store.add_chore("validate", dataset, connection=connection)
    claim = store.claim("w", "cpu", 0)
    assert claim is not None and store.finish_chore(claim, 1.0, error)
    (told,) = deliveries(engine)
    assert told.type == ("dataset.ready" if error is None else "dataset.failed")
    assert told.payload["data"] == {"dataset_id": dataset, "error": error}


def test_what_is_not_written_is_not_told(store: SqlStore, engine: Engine, clock: Hands) -> None:
    made = hook(engine)
    with pytest.raises(RuntimeError), transaction(engine) as connection:
        hooks.add(connection, [made], hooks.TEST, {}, clock())
        raise RuntimeError("the process dies here")
    assert deliveries(engine) == []


# -- how it is sent ---------------------------------------------------------------------------------------------------


def test_a_delivery_is_signed_and_sent_once(store: SqlStore, engine: Engine, clock: Hands, receiver: Receiver) -> None:
    hook(engine, receiver.url)
    job = started_job(store)
    assert deliver_one(engine, clock, LOCAL)
    assert not deliver_one(engine, clock, LOCAL)
    ((headers, body),) = receiver.came
    event = json.loads(body)
    assert (event["type"], event["data"]["job_id"]) == ("job.started", job)
    assert headers[":path"] == "/hook?a=b"
    assert headers["webhook-id"] == event["id"]
    assert abs(int(headers["webhook-timestamp"]) - clock().timestamp()) < 1
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"k" * 32, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    (row,) = deliveries(engine)
    assert (row.status, row.attempts, row.answer_status, row.next_at) == ("delivered", 1, 204, None)
    assert row.delivered_at == clock()


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of standardwebhooks.com."""
    found = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        b'{"test": 2432232314}',
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("answer", [500, 302, None], ids=["error", "redirect", "nobody"])
def test_what_does_not_arrive_is_tried_again_later_and_later(
    answer: int | None, store: SqlStore, engine: Engine, clock: Hands, receiver: Receiver
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    receiver.answer = answer or 204
    hook(engine, receiver.url if answer else nobody)
    started_job(store)
    for wait in RETRIES:
        assert deliver_one(engine, clock, LOCAL)
        (row,) = deliveries(engine)
        assert (row.status, row.answer_status, row.next_at) == ("pending", answer, clock() + wait)
        assert row.error
        clock.turn(wait.total_seconds() - 0.01)
        assert not deliver_one(engine, clock, LOCAL)
        clock.turn(0.01)
    assert deliver_one(engine, clock, LOCAL)
    (row,) = deliveries(engine)
    assert (row.status, row.attempts, row.next_at) == ("failed", len(RETRIES) + 1, None)
    assert len({headers["webhook-id"] for headers, _ in receiver.came}) == (1 if answer else 0)
    clock.turn(1e6)
    assert not deliver_one(engine, clock, LOCAL)
    receiver.answer = 200
    with transaction(engine) as connection:
        rows.send_again(connection, row.id, clock())
    assert deliver_one(engine, clock, LOCAL)
    assert deliveries(engine)[0].status == ("delivered" if answer else "pending")


def test_a_sender_that_dies_loses_nothing_and_its_late_answer_changes_nothing(
    store: SqlStore, engine: Engine, clock: Hands, receiver: Receiver
) -> None:
    hook(engine, receiver.url)
    started_job(store)
    with transaction(engine) as connection:
        lost = rows.claim(connection, clock(), LEASE)
    assert lost is not None and not deliver_one(engine, clock, LOCAL)
    clock.turn(LEASE.total_seconds())
    assert deliver_one(engine, clock, LOCAL)
    with transaction(engine) as connection:
        rows.record(connection, lost, {"status": "failed", "error": "too late"})
    (row,) = deliveries(engine)
    assert (row.status, row.attempts) == ("delivered", 2)


def test_one_who_is_gone_is_told_nothing_more(
    store: SqlStore, engine: Engine, clock: Hands, receiver: Receiver
) -> None:
    receiver.answer = 410
    hook(engine, receiver.url)
    started_job(store)
    started_job(store)
    assert deliver_one(engine, clock, LOCAL)
    assert not deliver_one(engine, clock, LOCAL)
    assert [(d.status, d.error) for d in deliveries(engine)] == [
        ("failed", "127.0.0.1 answers 410, expected 2xx"),
        ("failed", "the webhook is switched off"),
    ]
    assert len(receiver.came) == 1
    started_job(store)
    assert len(deliveries(engine)) == 2


def test_what_waits_for_a_deleted_webhook_goes_with_it(store: SqlStore, engine: Engine, clock: Hands) -> None:
    made = hook(engine)
    started_job(store)
    with transaction(engine) as connection:
        assert not rows.remove(connection, "somebody else", made)
        assert rows.remove(connection, "me", made)
        hooks.add(connection, [made], hooks.TEST, {}, clock())  # written by somebody who had not heard of it yet
    assert not deliver_one(engine, clock, LOCAL)
    assert deliveries(engine) == []


def test_old_deliveries_are_forgotten_once_they_are_over(store: SqlStore, engine: Engine, clock: Hands) -> None:
    hook(engine, enabled=True)
    started_job(store)
    clock.turn(3600)
    with transaction(engine) as connection:
        rows.forget_old(connection, clock())
        assert connection.scalar(select(func.count()).select_from(table(DeliveryRow))) == 1
        connection.execute(table(DeliveryRow).update().values(status="failed"))
        rows.forget_old(connection, clock())
    assert deliveries(engine) == []


# -- where it may go --------------------------------------------------------------------------------------------------

INSIDE = [
    "http://10.0.0.1/", "http://192.168.1.1:8080/x", "http://172.16.5.4/", "http://169.254.169.254/latest/meta-data",
    "http://[fd00::1]/", "http://[fe80::1]/", "http://[::ffff:10.0.0.1]/", "http://[64:ff9b::a00:1]/", "http://0.0.0.0/",
    "http://100.64.0.1/", "http://224.0.0.1/", "http://[2002:a00:1::]/", "http://167772161/", "http://0x0a.1/",
]  # fmt: skip
HERE = ["http://127.0.0.1:9/", "http://localhost:9/", "http://[::1]:9/", "http://2130706433:9/", "http://127.1:9/"]
ODD = [
    "ftp://example.com/",
    "file:///etc/passwd",
    "http://a:b@127.0.0.1:9/",
    "http:///x",
    "http://127.0.0.1:0/",
    "x" * 9,
]


@pytest.mark.parametrize("url", [*INSIDE, *ODD])
def test_addresses_inside_a_network_are_refused(url: str) -> None:
    with pytest.raises(ApiError) as refused:
        check_url(Settings.from_env({}), url)
    assert refused.value.code == "source_not_allowed"


@pytest.mark.parametrize("url", HERE)
def test_this_machine_is_reached_only_where_nobody_else_can_ask_for_it(url: str) -> None:
    check_url(Settings.from_env({}), url)
    for guarded in (Settings.from_env({}, auth=True), Settings.from_env({}, host="0.0.0.0", auth=True)):
        with pytest.raises(ApiError):
            check_url(guarded, url)
    with pytest.raises(ApiError):  # the service itself
        check_url(Settings.from_env({}, port=9), url)


def test_an_operator_may_name_the_only_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"hooks.example": "93.184.216.34", "sly.example": "10.0.0.7"}
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: [(0, 0, 0, "", (found[host], 443))])
    settings = Settings.from_env({"ASSAY_WEBHOOK_HOSTS": "hooks.example,10.0.0.7:9000,sly.example"}, auth=True)
    assert check_url(settings, "https://hooks.example/a").address == "93.184.216.34"
    assert check_url(settings, "http://10.0.0.7:9000/").address == "10.0.0.7"
    for url in ("http://10.0.0.7/", "https://other.example/", "https://sly.example/"):
        with pytest.raises(ApiError):
            check_url(settings, url)


def test_an_address_is_checked_again_before_every_attempt(
    store: SqlStore, engine: Engine, clock: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that led outside when it was registered, and leads inside now."""
    hook(engine, "http://rebinding.example/")
    started_job(store)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("10.0.0.1", 80))])
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("connected"))
    assert deliver_one(engine, clock, LOCAL)
    (row,) = deliveries(engine)
    assert row.status == "pending" and "not a public address" in row.error


# -- the API ----------------------------------------------------------------------------------------------------------


def test_the_whole_way_through_the_api(sqlite_template: Path, tmp_path: Path, receiver: Receiver) -> None:
    shutil.copy(sqlite_template, tmp_path / "assay.db")
    with running.running(f"sqlite:///{tmp_path / 'assay.db'}", tmp_path) as (api, _):
        answer = api.post(
            "/v1/webhooks", json={"url": receiver.url, "events": ["job.started"]}, headers={"Idempotency-Key": "k1"}
        )
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert made["secret"].startswith("whsec_") and answer.headers["location"].endswith(made["id"])
        again = api.post(
            "/v1/webhooks", json={"url": receiver.url, "events": ["job.started"]}, headers={"Idempotency-Key": "k1"}
        )
        assert again.json() == {**made, "secret": None}
        path = f"/v1/webhooks/{made['id']}"
        assert api.get(path).json() == {k: v for k, v in made.items() if k != "secret"}
        assert [h["id"] for h in api.get("/v1/webhooks").json()["data"]] == [made["id"]]
        changed = api.patch(path, json={"events": ["job.failed", "model.ready"], "description": "mine"}).json()
        assert (changed["events"], changed["description"], changed["url"]) == (
            ["job.failed", "model.ready"],
            "mine",
            receiver.url,
        )
        sent = api.post(f"{path}/test")
        assert sent.status_code == 202
        for _ in range(200):
            seen = api.get(sent.headers["location"]).json()
            if seen["status"] == "delivered":
                break
            threading.Event().wait(0.05)
        assert seen["status"] == "delivered" and seen["payload"]["type"] == "webhook.test"
        assert (
            signature(
                made["secret"],
                *[receiver.came[0][0][h] for h in ("webhook-id", "webhook-timestamp")],
                receiver.came[0][1],
            )
            == receiver.came[0][0]["webhook-signature"]
        )
        assert [d["id"] for d in api.get(f"{path}/deliveries").json()["data"]] == [seen["id"]]
        assert api.post(f"{path}/deliveries/{seen['id']}/redeliver").status_code == 202
        refused = api.post("/v1/webhooks", json={"url": "http://169.254.169.254/"})
        assert (refused.status_code, refused.json()["code"]) == (403, "source_not_allowed")
        assert api.patch(path, json={"url": "http://10.0.0.1/"}).status_code == 403
        assert api.post("/v1/webhooks", json={"url": receiver.url, "events": ["job.exploded"]}).status_code == 422
        assert api.patch(path, json={"enabled": False}).json()["enabled"] is False
        assert api.post(f"{path}/test").status_code == 409
        assert api.delete(path).status_code == 204
        assert api.get(path).status_code == 404 and api.get(f"{path}/deliveries").status_code == 404
