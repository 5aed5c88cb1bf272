"""Delivered models over HTTP: their files, their answers, their names; and whole datasets at once."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.deps import Services
from tests.app import running
from tests.app.running import csv_of, person

Delivered = tuple[TestClient, Services, str]


@pytest.fixture
def delivered(sqlite_template: Path, tmp_path: Path) -> Iterator[Delivered]:
    file = tmp_path / "assay.db"
    file.write_bytes(sqlite_template.read_bytes())
    with running.running(f"sqlite:///{file}", tmp_path) as (api, services):
        job = running.new_job(services)
        running.end_trial(services, running.start_trials(services, job, 1)[0], -0.4)
        yield api, services, running.deliver(services, job, [(0, "toy", 1.0)], -0.4)


def test_a_model_tells_what_it_is(delivered: Delivered) -> None:
    api, _, model = delivered
    shown = api.get(f"/v1/models/{model}").json()
    assert (shown["target"], shown["classes"], shown["formats"]) == (
        "level",
        ["low", "mid", "high"],
        ["bundle", "onnx"],
    )
    assert [c["name"] for c in shown["input_schema"]] == ["age", "income", "town", "since"]
    schema = api.get(f"/v1/models/{model}/schema").json()
    assert set(schema["json_schema"]["properties"]) == {"age", "income", "town", "since"}
    card = api.get(f"/v1/models/{model}/card", headers={"Accept": "text/markdown"})
    assert (
        card.headers["content-type"].startswith("text/markdown") and "| log_loss (optimised) | 0.4 | 0.5 |" in card.text
    )
    assert api.get(f"/v1/models/{model}/card").json()["facts"]["target"] == "level"


def test_rows_columns_and_csv_give_the_same_answers(delivered: Delivered) -> None:
    api, _, model = delivered
    rows = [person(), person(town=None, age=70), person(income=900)]
    path = f"/v1/models/{model}/predict"
    by_rows = api.post(path, json={"rows": rows}).json()
    table = {"columns": list(rows[0]), "data": [list(r.values()) for r in rows]}
    assert api.post(path, json=table).json() == by_rows
    by_csv = api.post(path, content=csv_of(rows), headers={"Content-Type": "text/csv"}).json()
    assert by_csv["predictions"] == by_rows["predictions"]
    for p in by_rows["predictions"]:
        assert sum(p["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert p["value"] == max(p["probabilities"], key=p["probabilities"].get)
    answered = api.post(path, json={"rows": rows}, headers={"Accept": "text/csv"})
    lines = list(csv.DictReader(io.StringIO(answered.text)))
    assert [line["prediction"] for line in lines] == [p["value"] for p in by_rows["predictions"]]
    assert float(lines[0]["probability_low"]) == pytest.approx(by_rows["predictions"][0]["probabilities"]["low"])


def test_a_cell_that_cannot_be_read_is_told_and_counts_as_missing(delivered: Delivered) -> None:
    api, _, model = delivered
    path = f"/v1/models/{model}/predict"
    odd = api.post(path, json={"rows": [person(age="old", extra=1)]}).json()
    assert {(w["row"], w["column"], w["code"]) for w in odd["warnings"]} == {
        (0, "age", "unparseable"),
        (None, "extra", "extra_column"),
    }
    assert odd["predictions"] == api.post(path, json={"rows": [person(age=None)]}).json()["predictions"]


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (
            b'{"rows": [{"agee": 1, "income": 1, "town": "Aa", "since": null}]}',
            "application/json",
            422,
            "schema_mismatch",
        ),
        (b'{"rows": [1]}', "application/json", 422, "validation_error"),
        (b'{"rowz": []}', "application/json", 422, "validation_error"),
        (b'{"columns": ["age"], "data": [[1, 2]]}', "application/json", 422, "schema_mismatch"),
        (b"{", "application/json", 422, "validation_error"),
        (b"", "application/json", 422, "validation_error"),
        (b"\x80\x04pickle", "application/x-pickle", 415, "unsupported_format"),
        (b"age,income\n1\n", "text/csv", 422, "schema_mismatch"),
    ],
)
def test_what_cannot_be_predicted_is_a_problem(
    delivered: Delivered, body: bytes, kind: str, status: int, code: str
) -> None:
    api, _, model = delivered
    for verb in ("predict", "explain"):
        refused = api.post(f"/v1/models/{model}/{verb}", content=body, headers={"Content-Type": kind})
        assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text


def test_an_explanation_is_what_the_answer_loses_without_a_column(delivered: Delivered) -> None:
    api, _, model = delivered
    explained = api.post(f"/v1/models/{model}/explain", json={"rows": [person(income=900), person()]}).json()
    first = explained["explanations"][0]
    known, without = (
        api.post(f"/v1/models/{model}/predict", json={"rows": [row]}).json()["predictions"][0]["probabilities"]
        for row in (person(income=900), person(income=None))
    )
    output = first["output"]
    assert first["value"] == output
    assert first["contributions"]["income"] == pytest.approx(known[output] - without[output], abs=1e-6)
    assert max(first["contributions"], key=lambda c: abs(first["contributions"][c])) == "income"
    nobody = dict.fromkeys(person())
    base = api.post(f"/v1/models/{model}/predict", json={"rows": [nobody]}).json()["predictions"][0]["probabilities"]
    assert first["base"] == pytest.approx(base[output], abs=1e-6)


def test_a_download_is_the_published_file_whole_or_in_parts(delivered: Delivered) -> None:
    api, _, model = delivered
    onnx, bundle, _ = running.small_model(((0, "toy", 1.0),))
    for format, content, suffix in (("bundle", bundle, ".zip"), ("onnx", onnx, ".onnx")):
        path = f"/v1/models/{model}/download?format={format}"
        whole = api.get(path)
        assert whole.content == content and suffix in whole.headers["content-disposition"]
        head = api.head(path)
        assert int(head.headers["content-length"]) == len(content) and head.content == b""
        middle = api.get(path, headers={"Range": "bytes=10-19"})
        assert (middle.status_code, middle.content) == (206, content[10:20])
        assert middle.headers["content-range"] == f"bytes 10-19/{len(content)}"
        last = api.get(path, headers={"Range": "bytes=-5", "If-Range": whole.headers["etag"]})
        assert last.content == content[-5:]
        changed = api.get(path, headers={"Range": "bytes=-5", "If-Range": '"other"'})
        assert (changed.status_code, changed.content) == (200, content)
        beyond = api.get(path, headers={"Range": f"bytes={len(content)}-"})
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(content)}")
        assert api.get(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304


def test_an_alias_names_one_model_and_moves(delivered: Delivered) -> None:
    api, services, first = delivered
    job = running.new_job(services)
    running.end_trial(services, running.start_trials(services, job, 1)[0], -0.3)
    second = running.deliver(services, job, [(0, "toy", 1.0)], -0.3)
    assert api.patch(f"/v1/models/{first}", json={"aliases": ["live"]}).json()["aliases"] == ["live"]
    assert api.get("/v1/models/churn@live").json()["id"] == first
    api.patch(f"/v1/models/{second}", json={"aliases": ["live"]})
    assert api.get("/v1/models/churn@live").json()["id"] == second
    assert api.get(f"/v1/models/{first}").json()["aliases"] == []
    assert api.post("/v1/models/churn@live/predict", json={"rows": [person()]}).json()["model_id"] == second
    assert "closest: 'live'" in api.get("/v1/models/churn@lice").json()["detail"]


def test_a_deleted_model_is_gone_and_its_job_knows(delivered: Delivered) -> None:
    api, _, model = delivered
    job = api.get(f"/v1/models/{model}").json()["job_id"]
    assert api.delete(f"/v1/models/{model}").status_code == 204
    assert api.get(f"/v1/models/{model}").status_code == 404
    assert api.get(f"/v1/jobs/{job}").json()["best"]["model_id"] is None
    assert api.get(f"/v1/jobs/{job}/events?limit=100").json()["data"][-1]["type"] == "model.deleted"


def test_a_whole_dataset_is_predicted_by_a_worker(delivered: Delivered) -> None:
    api, services, model = delivered
    dataset = running.ready_dataset(api, services)
    refused = api.post("/v1/predictions", json={"model": model, "dataset_id": dataset})
    assert (refused.status_code, refused.json()["code"]) == (422, "schema_mismatch")  # it has no column income
    columns = [{"name": n, "type": "number", "missing": 0, "distinct": 9, "example": 1} for n in person()]
    running.set_columns(services, dataset, columns)
    made = api.post("/v1/predictions", json={"model": "churn@none", "dataset_id": dataset})
    assert made.json()["code"] == "not_found"
    made = api.post("/v1/predictions", json={"model": model, "dataset_id": dataset})
    path = f"/v1/predictions/{made.json()['id']}"
    assert made.status_code == 202 and made.headers["location"] == path and made.json()["status"] == "queued"
    early = api.get(f"{path}/content")
    assert (early.status_code, early.json()["code"]) == (409, "invalid_transition")
    claim = services.store.claim("worker-1", "cpu", 1 << 30)
    assert claim is not None and claim.kind == "predict"
    result = services.storage.put(b"prediction\nlow\n")
    assert services.store.finish_chore(claim, 0.1, rows=1, result_blob=result.id)
    assert api.get(f"{path}?wait=1").json()["status"] == "succeeded"
    answered = api.get(f"{path}/content")
    assert answered.text == "prediction\nlow\n" and answered.headers["content-type"].startswith("text/csv")


def test_the_open_inference_protocol_answers_like_predict(delivered: Delivered) -> None:
    api, _, model = delivered
    assert api.get("/v2/health/ready").json() == {"ready": True}
    shown = api.get(f"/v2/models/{model}").json()
    assert [(i["name"], i["datatype"]) for i in shown["inputs"]][:3] == [
        ("age", "FP64"), ("income", "FP64"), ("town", "BYTES")
    ]  # fmt: skip
    assert api.get(f"/v2/models/{model}/versions/1").json() == shown
    assert api.get(f"/v2/models/{model}/ready").json()["ready"]
    rows = [person(), person(town=None, age=70)]
    inputs = [
        {"name": n, "datatype": "BYTES" if n in ("town", "since") else "FP64", "shape": [2, 1], "data": [[r[n]] for r in rows]}
        for n in rows[0]
    ]  # fmt: skip
    told = api.post(f"/v2/models/{model}/infer", json={"id": "7", "inputs": inputs}).json()
    assert (told["id"], told["model_name"]) == ("7", model)
    outputs = {o["name"]: o for o in told["outputs"]}
    expected = api.post(f"/v1/models/{model}/predict", json={"rows": rows}).json()["predictions"]
    assert outputs["label"]["data"] == [p["value"] for p in expected]
    assert outputs["probabilities"]["shape"] == [2, 3]
    assert outputs["probabilities"]["data"] == pytest.approx([v for p in expected for v in p["probabilities"].values()])
    assert [o["name"] for o in shown["outputs"]] == list(outputs)


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"data": [41, 42]}, "/inputs/0/data", "validation_error"),
        ({"shape": [1, 2], "data": [1, 2]}, "/inputs/0/shape", "validation_error"),
        ({"datatype": "STRING"}, "/inputs/0/datatype", "validation_error"),
        ({"name": "aged"}, None, "schema_mismatch"),
    ],
)
def test_a_tensor_that_does_not_fit_names_its_place(
    delivered: Delivered, change: dict[str, object], pointer: str | None, code: str
) -> None:
    api, _, model = delivered
    inputs = [{"name": n, "datatype": "BYTES", "shape": [1], "data": [v]} for n, v in person().items()]
    inputs[0] |= {"datatype": "FP64", **change}
    refused = api.post(f"/v2/models/{model}/infer", json={"inputs": inputs})
    assert (refused.status_code, refused.json()["code"]) == (422, code), refused.text
    assert pointer is None or refused.json()["errors"][0]["pointer"] == pointer


def test_usage_adds_up_what_is_stored_and_computed(delivered: Delivered) -> None:
    api, _, model = delivered
    used = api.get("/v1/usage").json()
    assert (used["models"]["count"], used["jobs"]["count"], used["jobs"]["trials"]) == (1, 1, 1)
    assert used["models"]["bytes"] == api.get(f"/v1/models/{model}").json()["size_bytes"]
    assert api.get("/v1/usage?since=2100-01-01T00:00:00Z").json()["jobs"]["count"] == 0
    assert api.get("/v1/usage?since=2100-01-01T00:00:00").json()["errors"][0]["pointer"] == "?since"
