"""The contract's conventions over real HTTP, without a worker: errors, keys, pages, uploads, once-only."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from app.accounts.audit_log import forget_old
from app.accounts.service import create_key
from app.clock import utc_now
from app.config import ConfigError, Settings
from app.db.engine import make_engine, migrate, transaction
from app.db.tables import DatasetRow, table
from app.errors import CODES
from app.main import create_app
from tests.app import running

CSV = b"age,plan,churn\n41,a,yes\n25,b,no\n"


def make(tmp_path: Path, **changes: Any) -> TestClient:
    settings = Settings.from_env({}, home=tmp_path, **changes)
    migrate(settings.database_url)
    return TestClient(create_app(settings), base_url="http://127.0.0.1:8000")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[TestClient]:
    with make(tmp_path) as client:
        yield client


def upload(api: TestClient, **headers: str) -> dict[str, Any]:
    answer = api.post("/v1/datasets?name=t.csv", content=CSV, headers={"Content-Type": "text/csv", **headers})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def read(tmp_path: Path, dataset: str) -> None:
    """What a worker would have written after reading the file."""
    columns = [("age", "integer", 60), ("plan", "category", 2), ("churn", "boolean", 2)]
    profile = {
        "n_rows": 500,
        "columns": [
            {"name": n, "type": t, "missing": 0, "distinct": d, "example": None, "statistics": {}}
            for n, t, d in columns
        ],
    }
    shown = [{"name": n, "type": t, "missing": 0, "distinct": d, "example": None} for n, t, d in columns]
    values = {"status": "ready", "rows": 500, "columns": shown, "profile": profile}
    engine = make_engine(f"sqlite:///{tmp_path / 'assay.db'}")
    with transaction(engine) as connection:
        connection.execute(update(table(DatasetRow)).where(table(DatasetRow).c.id == dataset).values(**values))
    engine.dispose()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("DELETE", "/v1/families", 405, "validation_error"),
        ("GET", "/v1/jobs/job_0", 404, "not_found"),
        ("GET", "/v1/jobs?limit=0", 422, "validation_error"),
        ("GET", "/v1/jobs?limitt=5", 422, "validation_error"),
        ("GET", "/v1/models/nobody@home", 404, "not_found"),
        ("GET", "/v1/usage?since=0.5", 422, "validation_error"),
        ("GET", "/v1/usage?since=1767225600", 422, "validation_error"),
    ],
)
def test_every_error_is_a_problem_with_a_code(api: TestClient, method: str, path: str, status: int, code: str) -> None:
    answer = api.request(method, path)
    problem = answer.json()
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "instance", "code", "request_id", "errors"} <= set(problem)
    assert problem["code"] == code and code in CODES
    assert problem["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/v1/jobs/job_0", "/v1/datasets/ds_0", "/v1/webhooks/whk_0"])
def test_bytes_that_are_no_text_are_as_invalid_as_any_other_body(api: TestClient, path: str) -> None:
    answer = api.patch(path, content=b"\xff{", headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")


def test_a_dataset_keeps_the_bytes_it_was_sent(api: TestClient) -> None:
    dataset = upload(api)
    assert dataset["status"] == "validating"
    content = api.get(f"/v1/datasets/{dataset['id']}/content")
    assert content.content == CSV
    assert content.headers["etag"].strip('"') == dataset["sha256"]
    part = api.get(f"/v1/datasets/{dataset['id']}/content", headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, CSV[4:8])
    again = api.get(f"/v1/datasets/{dataset['id']}/content", headers={"If-None-Match": content.headers["etag"]})
    assert again.status_code == 304


def test_a_form_upload_is_the_same_as_a_raw_one(api: TestClient) -> None:
    answer = api.post("/v1/datasets", files={"file": ("t.csv", CSV, "text/csv")})
    assert answer.status_code == 201
    assert answer.json()["sha256"] == upload(api)["sha256"]


def test_a_resumable_upload_goes_on_where_it_stopped(api: TestClient) -> None:
    made = api.post("/v1/uploads", json={"filename": "t.csv", "size": len(CSV)}).json()
    path = f"/v1/uploads/{made['id']}"
    first = api.patch(
        path, content=CSV[:10], headers={"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    )
    assert first.status_code in (200, 204), first.text
    wrong = api.patch(
        path, content=CSV[10:], headers={"Upload-Offset": "3", "Content-Type": "application/offset+octet-stream"}
    )
    assert (wrong.status_code, wrong.json()["code"]) == (409, "upload_offset_mismatch")
    assert api.head(path).headers["upload-offset"] == "10"
    api.patch(
        path, content=CSV[10:], headers={"Upload-Offset": "10", "Content-Type": "application/offset+octet-stream"}
    )
    answer = api.post("/v1/datasets", json={"name": "t.csv", "upload_id": made["id"]})
    assert answer.status_code == 201, answer.text
    assert api.get(f"/v1/datasets/{answer.json()['id']}/content").content == CSV


def test_a_post_with_a_key_happens_once(api: TestClient) -> None:
    first = upload(api, **{"Idempotency-Key": "k1"})
    again = api.post(
        "/v1/datasets?name=t.csv", content=CSV, headers={"Content-Type": "text/csv", "Idempotency-Key": "k1"}
    )
    assert again.json()["id"] == first["id"]
    assert again.headers["idempotent-replayed"] == "true"
    other = api.post(
        "/v1/datasets?name=t.csv", content=b"a,b\n1,2\n", headers={"Content-Type": "text/csv", "Idempotency-Key": "k1"}
    )
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(api.get("/v1/datasets").json()["data"]) == 1


def test_a_job_shows_what_was_decided_and_refuses_what_cannot_be(api: TestClient, tmp_path: Path) -> None:
    dataset = upload(api)["id"]
    early = api.post("/v1/jobs", json={"dataset_id": dataset, "task": {"type": "classification", "target": "churn"}})
    assert (early.status_code, early.json()["code"]) == (409, "dataset_not_ready")
    read(tmp_path, dataset)
    wrong = api.post("/v1/jobs", json={"dataset_id": dataset, "task": {"type": "classification", "target": "churned"}})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "target_not_found")
    assert "closest: 'churn'" in wrong.json()["detail"]
    assert wrong.json()["errors"][0]["pointer"] == "/task/target"
    unknown = api.post(
        "/v1/jobs", json={"dataset_id": dataset, "task": {"type": "classification", "target": "churn"}, "limts": {}}
    )
    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (422, "/limts")
    made = api.post("/v1/jobs", json={"dataset_id": dataset, "task": {"type": "classification", "target": "churn"}})
    job = made.json()
    assert made.status_code == 202
    assert made.headers["location"].endswith(f"/v1/jobs/{job['id']}")
    assert (job["status"], job["resolved"]["metric"], job["queue_position"]) == ("queued", "roc_auc", 1)
    seen = api.get(f"/v1/jobs/{job['id']}")
    assert api.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": seen.headers["etag"]}).status_code == 304
    assert api.get(f"/v1/jobs/{job['id']}/events").json()["data"][0]["type"] == "job.created"
    resume = api.post(f"/v1/jobs/{job['id']}/resume")
    assert resume.status_code in (200, 202)  # it is queued already: nothing to do


def test_pages_are_followed_by_their_cursor(api: TestClient) -> None:
    ids = [upload(api)["id"] for _ in range(5)]
    seen: list[str] = []
    after = ""
    while True:
        page = api.get(f"/v1/datasets?limit=2{after}").json()
        seen += [d["id"] for d in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after={page['next_after']}"
    assert sorted(seen) == sorted(ids)


def test_the_catalogue_and_the_documents_need_no_network(api: TestClient) -> None:
    names = {f["name"] for f in api.get("/v1/families").json()["data"]}
    assert {"linear", "logistic", "lightgbm", "catboost", "mlp", "knn"} <= names
    assert {s["name"] for s in api.get("/v1/strategies").json()["data"]} >= {
        "auto",
        "bayesian",
        "genetic",
        "annealing",
        "bohb",
    }
    page = api.get("/docs").text
    assert "http://" not in page and "https://" not in page
    for source in [part.split('"')[0] for part in page.split('src="')[1:]]:
        assert api.get(source).status_code == 200
    document = api.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    references = set(json.dumps(document).split('"#/components/schemas/')[1:])
    assert {r.split('"')[0] for r in references} <= set(document["components"]["schemas"])


def test_a_foreign_page_or_host_changes_nothing(api: TestClient) -> None:
    foreign = api.post("/v1/uploads", json={"filename": "x", "size": 1}, headers={"Origin": "http://evil.example"})
    assert (foreign.status_code, foreign.json()["code"]) == (403, "forbidden")
    assert api.get("/livez", headers={"Host": "evil.example"}).status_code == 403
    assert "default-src 'self'" in api.get("/docs").headers["content-security-policy"]


def test_keys_open_what_is_theirs_and_nothing_else(tmp_path: Path) -> None:
    with make(tmp_path, auth=True) as api:
        engine = make_engine(f"sqlite:///{tmp_path / 'assay.db'}")
        keys = {
            owner: create_key(engine, utc_now, owner=owner, name=owner, scopes=["write"])[1] for owner in ("ann", "bob")
        }
        only_read = create_key(engine, utc_now, owner="ann", name="r", scopes=["read"])[1]
        past = utc_now() - timedelta(days=1)
        expired = create_key(engine, utc_now, owner="ann", name="e", scopes=["write"], expires_at=past)[1]
        engine.dispose()

        def auth(secret: str) -> dict[str, str]:
            return {"Authorization": f"Bearer {secret}"}

        assert api.get("/v1/datasets").status_code == 401
        assert api.get("/v1/datasets", headers=auth("ask_wrong")).json()["code"] == "unauthorized"
        assert api.get("/v1/datasets", headers=auth(expired)).status_code == 401
        dataset = upload(api, **auth(keys["ann"]))["id"]
        assert api.get(f"/v1/datasets/{dataset}", headers=auth(keys["ann"])).status_code == 200
        assert api.get(f"/v1/datasets/{dataset}", headers=auth(keys["bob"])).status_code == 404
        refused = api.delete(f"/v1/datasets/{dataset}", headers=auth(only_read))
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


def test_a_server_for_everybody_needs_keys(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ASSAY_AUTH"):
        Settings.from_env({}, home=tmp_path, host="0.0.0.0").check_exposure()
    Settings.from_env({}, home=tmp_path, host="0.0.0.0", auth=True).check_exposure()


def test_what_changed_something_is_in_the_audit_log_once(sqlite_template: Path, tmp_path: Path) -> None:
    file = tmp_path / "assay.db"
    shutil.copy(sqlite_template, file)
    with running.running(f"sqlite:///{file}", tmp_path, auth=True) as (api, services):
        now = services.clock

        def key(owner: str, *scopes: str) -> tuple[str, dict[str, str]]:
            made, secret = create_key(services.engine, now, owner=owner, name="k", scopes=scopes)
            return str(made["id"]), {"Authorization": f"Bearer {secret}"}

        id, ann = key("ann", "admin")
        for _ in range(2):  # the second is replayed: it changed nothing
            upload = api.post(
                "/v1/uploads", json={"filename": "t.csv", "size": 9}, headers={**ann, "Idempotency-Key": "k"}
            )
        api.get("/v1/uploads/none", headers=ann)
        assert api.post("/v1/uploads", json={"filename": "t.csv"}, headers=ann).status_code == 422
        assert api.delete(f"/v1/uploads/{upload.json()['id']}", headers=ann).status_code == 204
        found = api.get("/v1/audit_events", headers=ann).json()["data"]
        assert [(e["method"], e["status"], e["key_id"]) for e in found] == [("DELETE", 204, id), ("POST", 201, id)]
        assert found[0]["path"] == f"/v1/uploads/{upload.json()['id']}"
        assert found[1]["request_id"] and found[1]["action"] == "create_upload"
        assert api.get("/v1/audit_events", headers=key("bob", "admin")[1]).json()["data"] == []
        assert api.get("/v1/audit_events", headers=key("ann", "write")[1]).status_code == 403
        with transaction(services.engine) as connection:
            forget_old(connection, now() + timedelta(days=366))
        assert api.get("/v1/audit_events", headers=ann).json()["data"] == []
