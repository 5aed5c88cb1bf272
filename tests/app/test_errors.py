"""Every code of the closed set comes out of a real request, as a problem."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from app.config import Settings
from app.deps import Services
from app.errors import CODES, MEDIA_TYPE
from app.jobs import service as jobs
from app.main import create_app
from tests.app import running
from tests.app.running import CSV, TARGET

Parts = tuple[TestClient, Services]
BYTES = {"Content-Type": "application/offset+octet-stream"}
# where another file shows them
ELSEWHERE = {
    "validation_error": "test_jobs",
    "target_not_found": "test_api",
    "dataset_not_ready": "test_api",
    "schema_mismatch": "test_models",
    "invalid_transition": "test_jobs",
    "idempotency_key_reused": "test_idempotency",
    "idempotency_in_progress": "test_idempotency",
    "not_found": "test_api",
    "unauthorized": "test_api",
    "precondition_failed": "test_jobs",
    "upload_offset_mismatch": "test_api",
    "source_not_allowed": "test_fetch",
    "source_unreachable": "test_fetch",
}


@pytest.fixture
def parts(sqlite_template: Path, tmp_path: Path) -> Iterator[Parts]:
    file = tmp_path / "assay.db"
    file.write_bytes(sqlite_template.read_bytes())
    with running.running(f"sqlite:///{file}", tmp_path, max_upload_bytes=1000) as made:
        yield made


def check(answer: httpx2.Response, code: str) -> dict[str, object]:
    assert answer.headers["content-type"] == MEDIA_TYPE
    problem = dict(answer.json())
    assert (answer.status_code, problem["code"]) == (CODES[code].status, code), problem
    return problem


def test_every_code_has_a_test_and_a_line_in_the_documentation() -> None:
    here = Path(__file__).read_text()
    folder = Path(__file__).parent
    told = (folder.parents[1] / "docs" / "errors.md").read_text()
    for code in CODES:
        place = folder / f"{ELSEWHERE[code]}.py" if code in ELSEWHERE else Path(__file__)
        text = place.read_text() if code in ELSEWHERE else here.replace(f'"{code}": "', "")
        assert f'"{code}"' in text, f"{code} is shown by no test in {place.name}"
        assert f"`{code}`" in told


def test_a_body_that_is_too_long_is_dataset_too_large(parts: Parts) -> None:
    api, _ = parts
    announced = api.post("/v1/datasets", content=b"x" * 1001, headers={"Content-Type": "text/csv"})
    check(announced, "dataset_too_large")

    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    check(api.post("/v1/datasets", content=pieces(), headers={"Content-Type": "text/csv"}), "dataset_too_large")
    check(api.post("/v1/uploads", json={"filename": "a", "size": 1001}), "dataset_too_large")
    check(api.post("/v1/jobs", content=b"x" * (2 << 20)), "dataset_too_large")
    assert api.get("/v1/datasets").json()["data"] == []


def test_what_is_no_table_is_unsupported_format(parts: Parts) -> None:
    api, _ = parts
    problem = check(
        api.post("/v1/datasets", content=b"x", headers={"Content-Type": "application/x-pickle"}), "unsupported_format"
    )
    assert "text/csv" in str(problem["detail"])
    check(api.post("/v1/datasets?format=cvs", content=CSV), "unsupported_format")


def test_a_target_without_enough_rows_or_classes_is_refused(parts: Parts) -> None:
    api, services = parts
    for rows, distinct, code in ((4, 2, "too_few_rows"), (500, 1, "single_class_target")):
        dataset = str(running.upload(api)["id"])
        running.mark_ready(services, dataset, rows=rows, target_classes=distinct)
        problem = check(api.post("/v1/jobs", json={"dataset_id": dataset, "task": TARGET}), code)
        assert "churn" in str(problem["detail"])


def test_bytes_that_are_not_what_was_announced_are_dropped_and_gone(parts: Parts) -> None:
    api, _ = parts
    body = {"filename": "t.csv", "size": len(CSV), "sha256": hashlib.sha256(b"other").hexdigest()}
    path = f"/v1/uploads/{api.post('/v1/uploads', json=body).json()['id']}"
    check(api.patch(path, content=CSV, headers={**BYTES, "Upload-Offset": "0"}), "checksum_mismatch")
    check(api.patch(path, content=CSV, headers={**BYTES, "Upload-Offset": "0"}), "gone")
    check(api.post("/v1/datasets", json={"upload_id": path.rpartition("/")[2]}), "gone")


def test_a_chunk_must_say_where_it_begins(parts: Parts) -> None:
    api, _ = parts
    path = f"/v1/uploads/{api.post('/v1/uploads', json={'filename': 't.csv', 'size': 9}).json()['id']}"
    problem = check(api.patch(path, content=b"abc", headers=BYTES), "precondition_required")
    assert "Upload-Offset" in str(problem["detail"])
    check(api.patch(path, content=b"0123456789", headers={**BYTES, "Upload-Offset": "0"}), "validation_error")


def test_equal_content_uploaded_twice_is_one_blob_and_two_datasets(parts: Parts) -> None:
    api, _ = parts
    first = running.upload(api)
    path = f"/v1/uploads/{api.post('/v1/uploads', json={'filename': 't.csv', 'size': len(CSV)}).json()['id']}"
    assert api.patch(path, content=CSV, headers={**BYTES, "Upload-Offset": "0"}).status_code == 204
    second = api.post("/v1/datasets", json={"upload_id": path.rpartition("/")[2]}).json()
    assert first["sha256"] == second["sha256"] and first["id"] != second["id"]
    assert api.delete(f"/v1/datasets/{first['id']}").status_code == 204
    assert api.get(f"/v1/datasets/{second['id']}/content").content == CSV


def test_more_posts_than_allowed_are_told_when_to_come_back(sqlite_template: Path, tmp_path: Path) -> None:
    file = tmp_path / "assay.db"
    file.write_bytes(sqlite_template.read_bytes())
    with running.running(f"sqlite:///{file}", tmp_path, rate_limit=60) as (api, _):
        answers = [api.post("/v1/uploads", json={"filename": "a", "size": 1}) for _ in range(10)]
    assert [a.status_code for a in answers[:6]] == [201] * 6
    check(answers[-1], "rate_limited")
    assert int(answers[-1].headers["retry-after"]) >= 1 and answers[-1].headers["ratelimit-remaining"] == "0"


def test_too_many_unfinished_jobs_are_a_quota(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    api, services = parts
    monkeypatch.setattr(jobs, "MOST_UNFINISHED", 1)
    dataset = running.ready_dataset(api, services)
    body = {"dataset_id": dataset, "task": TARGET}
    assert api.post("/v1/jobs", json=body).status_code == 202
    check(api.post("/v1/jobs", json=body), "quota_exceeded")


def test_a_foreign_page_is_forbidden(parts: Parts) -> None:
    api, _ = parts
    for headers in ({"Origin": "null"}, {"Origin": "http://127.0.0.1:9"}, {"Sec-Fetch-Site": "cross-site"}):
        check(api.post("/v1/uploads", json={"filename": "a", "size": 1}, headers=headers), "forbidden")
    same = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
    assert api.post("/v1/uploads", json={"filename": "a", "size": 1}, headers=same).status_code == 201


def test_without_its_database_the_service_says_so_at_once(tmp_path: Path) -> None:
    """Nobody listens at this address: connecting is refused."""
    settings = Settings.from_env({}, home=tmp_path, database_url="postgresql://nobody:secret@127.0.0.1:9/none")
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as api:
        for answer in (
            api.get("/v1/jobs"),
            api.get("/readyz"),
            api.get(f"/v1/jobs/job_{'0' * 32}?wait=5"),
            api.get(f"/v1/jobs/job_{'0' * 32}/events", headers={"Accept": "text/event-stream"}),
            api.post("/v1/uploads", json={"filename": "a", "size": 1}, headers={"Idempotency-Key": "k"}),
        ):
            check(answer, "capacity_unavailable")
            assert "secret" not in answer.text and answer.headers["retry-after"] == "1"
        assert api.get("/livez").status_code == 200


def test_a_bug_is_internal_and_tells_nothing(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    api, services = parts

    def broken(*_: object) -> None:
        raise RuntimeError("the secret is ask_abcdefghijklmnop")

    monkeypatch.setattr(type(services.store), "workers", broken)
    answer = api.get("/v1/system", headers={"X-Request-Id": "trace-me"})
    problem = check(answer, "internal")
    assert "ask_" not in answer.text
    assert problem["request_id"] == answer.headers["x-request-id"] == "trace-me"
    assert any(r.levelname == "ERROR" and "RuntimeError" in r.message for r in caplog.records)
