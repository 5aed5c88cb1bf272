"""A POST with a key happens once: twins, crashes, big bodies, failures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update
from starlette.testclient import TestClient

from app import idempotency
from app.db.engine import transaction
from app.db.tables import IdempotencyRow
from app.deps import Services
from tests.app import running
from tests.app.running import CSV, TARGET

Parts = tuple[TestClient, Services]
KEYED = {"Idempotency-Key": "once"}


@pytest.fixture
def parts(sqlite_template: Path, tmp_path: Path) -> Iterator[Parts]:
    file = tmp_path / "assay.db"
    file.write_bytes(sqlite_template.read_bytes())
    with running.running(f"sqlite:///{file}", tmp_path) as made:
        yield made


def test_twins_sent_at_the_same_time_make_one_job(parts: Parts) -> None:
    api, services = parts
    dataset = running.ready_dataset(api, services)
    body = {"dataset_id": dataset, "task": TARGET}
    together = threading.Barrier(8)

    def post() -> tuple[int, str]:
        together.wait()
        answer = api.post("/v1/jobs", json=body, headers=KEYED)
        return answer.status_code, answer.json().get("code", "")

    with ThreadPoolExecutor(8) as pool:
        answers = [f.result() for f in [pool.submit(post) for _ in range(8)]]
    assert (202, "") in answers
    assert set(answers) <= {(202, ""), (409, "idempotency_in_progress")}
    assert len(api.get("/v1/jobs").json()["data"]) == 1


def test_a_replayed_answer_is_the_first_one_word_for_word(parts: Parts) -> None:
    api, services = parts
    dataset = running.ready_dataset(api, services)
    body = {"dataset_id": dataset, "task": TARGET}
    first, again = (api.post("/v1/jobs", json=body, headers=KEYED) for _ in range(2))
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotent-replayed"] == "true" and "idempotent-replayed" not in first.headers
    other = api.post("/v1/jobs", json={**body, "name": "other"}, headers=KEYED)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_a_crash_after_the_commit_still_replays(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is written with the job itself: dying before it is sent changes nothing for the retry."""
    api, services = parts
    dataset = running.ready_dataset(api, services)
    body = {"dataset_id": dataset, "task": TARGET}
    bell = type(services.bell)

    def die(*_: object) -> None:
        raise RuntimeError("the process dies right after the commit")

    with monkeypatch.context() as m:
        m.setattr(bell, "ring", die)
        assert api.post("/v1/jobs", json=body, headers=KEYED).status_code == 500
    again = api.post("/v1/jobs", json=body, headers=KEYED)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert [j["id"] for j in api.get("/v1/jobs").json()["data"]] == [again.json()["id"]]


def test_a_failure_leaves_the_key_free(parts: Parts) -> None:
    api, services = parts
    dataset = running.ready_dataset(api, services)
    wrong = {"dataset_id": dataset, "task": {**TARGET, "target": "churned"}}
    assert api.post("/v1/jobs", json=wrong, headers=KEYED).json()["code"] == "target_not_found"
    assert api.post("/v1/jobs", json={"dataset_id": dataset, "task": TARGET}, headers=KEYED).status_code == 202


def test_a_form_sent_again_with_another_boundary_is_the_same_request(parts: Parts) -> None:
    api, _ = parts

    def send(boundary: str, content: bytes = CSV) -> object:
        form = b'--%b\r\nContent-Disposition: form-data; name="file"; filename="t.csv"\r\n\r\n%b\r\n--%b--\r\n'
        return api.post(
            "/v1/datasets",
            content=form % (boundary.encode(), content, boundary.encode()),
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}", **KEYED},
        )

    first, again = send("aaaabbbbcccc"), send("xxxxyyyyzzzz")
    assert first.status_code == 201 and again.json() == first.json()  # type: ignore[attr-defined]
    assert send("mmmm", b"other,bytes\n1,2\n").json()["code"] == "idempotency_key_reused"  # type: ignore[attr-defined]


def test_a_large_upload_is_hashed_while_it_streams(parts: Parts) -> None:
    api, _ = parts
    content = b"a,b\n" + b"1,2\n" * 700_000  # 2.8 MB: several pieces
    first, again = (running.upload(api, content, **KEYED) for _ in range(2))
    assert first["id"] == again["id"] and first["bytes"] == len(content)
    other = api.post("/v1/datasets?name=train.csv", content=content[:-1], headers={"Content-Type": "text/csv", **KEYED})
    assert other.json()["code"] == "idempotency_key_reused"


def test_the_claim_of_a_request_that_died_is_taken_over(parts: Parts) -> None:
    api, services = parts
    claimed = {"owner": "local", "key": "once", "fingerprint": "", "status": 0, "headers": {}}
    with transaction(services.engine) as connection:
        connection.execute(insert(IdempotencyRow).values(**claimed, created_at=services.clock()))
    body = {"filename": "t.csv", "size": 5}
    busy = api.post("/v1/uploads", json=body, headers=KEYED)
    assert (busy.status_code, busy.json()["code"]) == (409, "idempotency_in_progress")
    long_ago = services.clock() - 2 * idempotency.STALE
    with transaction(services.engine) as connection:
        connection.execute(update(IdempotencyRow).values(created_at=long_ago))
    assert api.post("/v1/uploads", json=body, headers=KEYED).status_code == 201


def test_answers_are_forgotten_after_a_day(parts: Parts) -> None:
    api, services = parts
    made = api.post("/v1/uploads", json={"filename": "t.csv", "size": 5}, headers=KEYED)
    idempotency.forget_expired(services.engine, services.clock() + idempotency.KEPT)
    again = api.post("/v1/uploads", json={"filename": "t.csv", "size": 5}, headers=KEYED)
    assert again.json()["id"] != made.json()["id"]


def test_the_secret_of_a_new_key_is_not_kept_for_replays(parts: Parts) -> None:
    api, services = parts
    secret = api.post("/v1/api_keys", json={"name": "ci"}, headers=KEYED).json()["key"]
    again = api.post("/v1/api_keys", json={"name": "ci"}, headers=KEYED).json()
    assert secret.startswith("ask_") and again["key"] is None
    with transaction(services.engine, read_only=True) as connection:
        assert secret.encode() not in connection.scalar(select(IdempotencyRow.body))


def test_a_key_that_is_none_is_refused(parts: Parts) -> None:
    api, _ = parts
    for key in ("", "x" * 300, "two words"):
        refused = api.post("/v1/uploads", json={"filename": "t", "size": 5}, headers={"Idempotency-Key": key})
        assert refused.json()["errors"][0]["pointer"] == "header:Idempotency-Key"
