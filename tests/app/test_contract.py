"""What `/openapi.json` promises, held against every route: shapes, statuses, keys, and strings nobody expects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from app.accounts.service import create_key
from app.deps import Services
from app.errors import CODES, MEDIA_TYPE
from app.route import Route, scope_of
from app.schemas import Problem
from tests.app import running
from tests.app.running import TARGET, person

Parts = tuple[TestClient, Services]
ABSENT = {
    "dataset": "ds",
    "upload": "upl",
    "job": "job",
    "model": "mdl",
    "prediction": "prd",
    "key": "key",
    "webhook": "whk",
    "delivery": "dlv",
}
HOSTILE = [
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "/etc/passwd",
    "C:\\windows\\win.ini",
    "<script>alert(1)</script>",
    "{{7*7}}",
    "%s%n",
    "' OR 1=1 --",
    "=cmd|' /C calc'!A0",
    "a\x00b",
    "\ud800",
    "\u202e\u0000",
    "x" * 5000,
    "-1",
    "1e999",
    "NaN",
    "",
]


@pytest.fixture(scope="module")
def parts(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    folder = tmp_path_factory.mktemp("contract")
    file = folder / "assay.db"
    file.write_bytes(sqlite_template.read_bytes())
    with running.running(f"sqlite:///{file}", folder) as made:
        yield made


@pytest.fixture(scope="module")
def there(parts: Parts) -> dict[str, str]:
    """One of everything, by the name of its path parameter."""
    api, services = parts
    dataset = running.ready_dataset(api, services)
    job = running.new_job(services, dataset_id=dataset)
    claims = running.start_trials(services, job, 3)
    for claim, score in zip(claims, (-0.5, None, -0.4), strict=True):
        running.end_trial(services, claim, score)
    model = running.deliver(services, job, [(0, "toy", 0.5), (2, "toy", 0.5)], -0.3)
    upload = api.post("/v1/uploads", json={"filename": "t.csv", "size": 9}).json()["id"]
    key = api.post("/v1/api_keys", json={"name": "k"}).json()["id"]
    columns = [{"name": n, "type": "number", "missing": 0, "distinct": 9, "example": 1} for n in person()]
    other = running.ready_dataset(api, services)
    running.set_columns(services, other, columns)
    prediction = api.post("/v1/predictions", json={"model": model, "dataset_id": other}).json()["id"]
    webhook = api.post("/v1/webhooks", json={"url": "http://127.0.0.1:9/", "events": ["job.failed"]}).json()["id"]
    delivery = api.post(f"/v1/webhooks/{webhook}/test").json()["id"]
    return {
        "dataset_id": dataset,
        "webhook_id": webhook,
        "delivery_id": delivery,
        "job_id": job,
        "model_id": model,
        "upload_id": upload,
        "key_id": key,
        "prediction_id": prediction,
        "number": "0",
        "kind": "history",
        "version": "1",
    }


def routes(api: TestClient) -> list[Route]:
    return [r for r in api.app.router.routes if isinstance(r, Route)]  # type: ignore[attr-defined]


def filled(path: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda m: values[m[1]], path)


def absent(path: str) -> str:
    values = {f"{name}_id": f"{prefix}_{'0' * 32}" for name, prefix in ABSENT.items()}
    return filled(path, {**values, "number": "0", "kind": "history", "version": "1"})


def test_every_answer_has_the_shape_the_document_gives(parts: Parts, there: dict[str, str]) -> None:
    api, _ = parts
    checked = 0
    for route in routes(api):
        if "GET" not in (route.methods or ()):
            continue
        answer = api.get(filled(route.path, there))
        documented = api.app.openapi()["paths"][route.path]["get"]["responses"]  # type: ignore[attr-defined]
        assert str(answer.status_code) in documented, (route.path, answer.status_code)
        model = route.responses.get(answer.status_code, {}).get("model")
        if model is not None:
            TypeAdapter(model).validate_json(answer.content)
            checked += 1
        elif answer.status_code >= 400:
            Problem.model_validate_json(answer.content)
    assert checked > 25


def test_what_is_made_has_the_shape_the_document_gives(parts: Parts, there: dict[str, str]) -> None:
    api, _ = parts
    dataset = there["dataset_id"]
    row = {"rows": [person()]}
    posts: dict[str, Any] = {
        "/v1/jobs": {"dataset_id": dataset, "task": TARGET},
        "/v1/uploads": {"filename": "a", "size": 1},
        "/v1/api_keys": {"name": "a"},
        "/v1/webhooks": {"url": "http://127.0.0.1:9/"},
        "/v1/webhooks/{webhook_id}/test": {},
        "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver": {},
        "/v1/models/{model_id}/predict": row,
        "/v1/models/{model_id}/explain": row,
    }
    by_path = {r.path: r for r in routes(api) if "POST" in (r.methods or ())}
    for path, body in posts.items():
        answer = api.post(filled(path, there), json=body)
        model = by_path[path].responses[answer.status_code]["model"]
        TypeAdapter(model).validate_json(answer.content)
    changed = api.put(f"/v1/datasets/{running.upload(api)['id']}/schema", json={"columns": []})
    assert changed.json()["code"] == "dataset_not_ready"


def test_the_document_describes_every_route_and_its_problems(parts: Parts) -> None:
    api, _ = parts
    document = api.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    ids = [o["operationId"] for p in document["paths"].values() for o in p.values()]
    assert len(ids) == len(set(ids))
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            place = f"{method} {path}"
            assert operation["summary"], place
            assert {"422", "500", "503"} <= set(operation["responses"]), place
            for status, answer in operation["responses"].items():
                if int(status) >= 400 and method != "head":
                    assert list(answer["content"]) == [MEDIA_TYPE], (place, status)
                    named = re.findall(r"`(\w+)`", answer["description"])
                    assert set(named) <= set(CODES), (place, named)


def test_every_route_asks_for_a_key_that_is_good_and_far_enough(sqlite_template: Path, tmp_path: Path) -> None:
    file = tmp_path / "assay.db"
    file.write_bytes(sqlite_template.read_bytes())
    with running.running(f"sqlite:///{file}", tmp_path, auth=True) as (api, services):

        def key(owner: str, *scopes: str, days: int = 1) -> dict[str, str]:
            expires = services.clock() + timedelta(days=days)
            made = create_key(services.engine, services.clock, owner=owner, name="k", scopes=scopes, expires_at=expires)
            return {"Authorization": f"Bearer {made[1]}"}

        bad = [{}, {"Authorization": "Bearer ask_no"}, {"Authorization": "Basic x"}, key("ann", "admin", days=-1)]
        reader, writer, admin = key("ann", "read"), key("ann", "write"), key("bob", "admin")
        job = running.new_job(services, owner="ann")
        assert api.get(f"/v1/jobs/{job}", headers=reader).status_code == 200
        for route in routes(api):
            for method in route.methods or ():
                path = absent(route.path)
                scope = scope_of(route)
                if scope == "public":
                    assert api.request(method, path).status_code in (200, 503)  # 503: no worker here, so not ready
                    continue
                for headers in bad:
                    refused = api.request(method, path, headers=headers)
                    assert refused.status_code == 401, (method, path, headers)
                    assert refused.headers["www-authenticate"].startswith("Bearer")
                for headers, level in (
                    (reader, ("read",)),
                    (writer, ("read", "write")),
                    (admin, ("read", "write", "admin")),
                ):
                    allowed = api.request(method, path, headers=headers).status_code not in (401, 403)
                    assert allowed == (scope in level), (method, path, scope)
                if "{job_id}" in route.path:
                    others = api.request(
                        method,
                        filled(route.path, {"job_id": job, "number": "0", "kind": "history", "version": "1"}),
                        headers=admin,
                    )
                    assert others.status_code in (404, 422), (
                        method,
                        path,
                    )  # 422: an empty body, before anything is looked up
        assert api.get("/v1/jobs", headers=admin).json()["data"] == []


def test_no_string_in_a_path_or_query_is_more_than_a_string(parts: Parts, there: dict[str, str]) -> None:
    from urllib.parse import quote

    api, _ = parts
    for route in routes(api):
        if "GET" not in (route.methods or ()):
            continue
        for text in HOSTILE:
            sent = quote(text.encode("utf-8", "surrogatepass"), safe="")
            for name in re.findall(r"\{(\w+)\}", route.path):
                answer = api.get(filled(route.path, {**there, name: sent}))
                assert answer.status_code in ((200, 404, 422) if text else (200, 404, 405, 422)), (route.path, text)
                assert "root:" not in answer.text
            for name in sorted(p.alias for p in route.dependant.query_params):
                if name == "wait":
                    continue
                answer = api.get(f"{filled(route.path, there)}?{name}={sent}")
                assert answer.status_code in (200, 409, 415, 422), (route.path, name, text, answer.status_code)


def test_no_string_in_a_body_is_more_than_a_string(parts: Parts, there: dict[str, str]) -> None:
    api, _ = parts
    dataset = there["dataset_id"]
    for text in HOSTILE:
        bodies: list[tuple[str, str, Any]] = [
            ("POST", "/v1/jobs", {"dataset_id": text, "task": TARGET}),
            ("POST", "/v1/jobs", {"dataset_id": dataset, "name": text, "task": TARGET, "tags": {text: text}}),
            ("POST", "/v1/jobs", {"dataset_id": dataset, "task": {"type": text, "target": text}}),
            ("POST", "/v1/jobs", {"dataset_id": dataset, "task": {**TARGET, "positive_class": text}}),
            ("POST", "/v1/jobs", {"dataset_id": dataset, "task": {**TARGET, "ignore_columns": [text]}}),
            (
                "POST",
                "/v1/jobs",
                {"dataset_id": dataset, "task": TARGET, "search": {"families": [text], "strategy": text}},
            ),
            ("POST", "/v1/uploads", {"filename": text, "size": 3}),
            ("POST", "/v1/uploads", {"filename": "a", "size": 3, "sha256": text}),
            ("POST", "/v1/datasets", {"name": text, "upload_id": text}),
            ("PATCH", f"/v1/datasets/{dataset}", {"name": text, "tags": {"a": text}}),
            ("PUT", f"/v1/datasets/{dataset}/schema", {"columns": [{"name": text, "type": "number"}]}),
            ("PATCH", f"/v1/jobs/{there['job_id']}", {"name": text}),
            ("PATCH", f"/v1/models/{there['model_id']}", {"name": "churn", "description": text, "aliases": [text]}),
            ("POST", "/v1/predictions", {"model": text, "dataset_id": text}),
            ("POST", f"/v1/models/{there['model_id']}/predict", {"rows": [person(town=text, age=text)]}),
            ("POST", f"/v1/models/{there['model_id']}/predict", {"rows": [{text: text}]}),
            ("POST", f"/v1/models/{there['model_id']}/generate", {"n": 1, "condition": {text: text}}),
            ("POST", "/v1/api_keys", {"name": text, "scopes": [text], "owner": text}),
        ]
        for method, path, body in bodies:
            content = json.dumps(body).encode()
            answer = api.request(method, path, content=content, headers={"Content-Type": "application/json"})
            assert answer.status_code < 500, (method, path, text, answer.text)
            if answer.status_code >= 400:
                assert answer.json()["code"] in CODES
    assert "<script>" not in api.get(f"/v1/jobs/{there['job_id']}/report").text


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
FIELDS = {
    "/v1/jobs": [
        "dataset_id",
        "name",
        "task",
        "objective",
        "validation",
        "limits",
        "search",
        "device",
        "priority",
        "tags",
    ],
    "/v1/uploads": ["filename", "size", "sha256"],
    "/v1/datasets": ["upload_id", "name", "format", "url"],
    "/v1/predictions": ["model", "dataset_id"],
    "/v1/api_keys": ["name", "scopes", "expires_at", "owner"],
    "/v1/webhooks": ["url", "events", "description", "enabled"],
    "/v1/models/{model_id}/predict": ["rows", "columns", "data"],
    "/v1/models/{model_id}/generate": ["n", "seed", "condition"],
}


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_json_gets_a_documented_answer(parts: Parts, there: dict[str, str], data: st.DataObject) -> None:
    api, _ = parts
    path = data.draw(st.sampled_from(sorted(FIELDS)))
    valid = {
        "/v1/jobs": {"dataset_id": there["dataset_id"], "task": TARGET},
        "/v1/uploads": {"filename": "a", "size": 1},
    }
    changes = data.draw(st.dictionaries(st.sampled_from(FIELDS[path]), JSON_VALUES, min_size=1, max_size=3))
    content = json.dumps({**valid.get(path, {}), **changes}).encode()
    answer = api.post(filled(path, there), content=content, headers={"Content-Type": "application/json"})
    documented = api.app.openapi()["paths"][path]["post"]["responses"]  # type: ignore[attr-defined]
    assert str(answer.status_code) in documented and answer.status_code < 500, answer.text
