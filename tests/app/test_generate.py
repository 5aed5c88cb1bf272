"""`/v1/models/{id}/generate` over a delivered generator, and over a model that draws nothing."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.deps import Services
from app.ids import new_id
from app.models.generate import Generated
from assay.generation.compose import Composed, compose_pictures, compose_rows
from assay.metrics.generation import two_sample
from assay.model.bundle import bundle_bytes
from assay.model.manifest import Manifest, Member
from assay.search.plan import BuildModel
from assay.testing.context import ToyContext
from assay.testing.generators import _pictures, _rows
from search_spaces.generative import gaussian_mixture_images, gaussian_mixture_rows
from tests.app import running


@dataclass(frozen=True)
class There:
    api: TestClient
    rows: str
    pictures: str
    classifier: str


@pytest.fixture(scope="module")
def there(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[There]:
    folder = tmp_path_factory.mktemp("generate")
    file = folder / "assay.db"
    file.write_bytes(sqlite_template.read_bytes())
    with running.running(f"sqlite:///{file}", folder) as (api, services):
        rows, pictures = (_delivered(services, c) for c in _composed())
        job = running.new_job(services)
        running.end_trial(services, running.start_trials(services, job, 1)[0], -0.5)
        yield There(api, rows, pictures, running.deliver(services, job, [(0, "toy", 1.0)], -0.5))


@cache
def _composed() -> tuple[Composed, Composed]:
    coder, data = _rows()
    rows = gaussian_mixture_rows.family.fit(gaussian_mixture_rows.MixtureConfig(components=3), data, ToyContext())
    config = gaussian_mixture_images.MixtureImagesConfig(components=4)
    pictures = gaussian_mixture_images.family.fit(config, _pictures(), ToyContext())
    return compose_rows(coder, rows), compose_pictures(pictures, 8, 1, ("left", "right"), "side", np.array([0.5, 0.5]))


def _delivered(services: Services, composed: Composed) -> str:
    """A generator stored and published as a worker does."""
    job = running.new_job(services)
    running.end_trial(services, running.start_trials(services, job, 1)[0], 0.5)
    assert services.store.apply(job, services.store.snapshot(job).revision, [BuildModel(final=True)])
    claim = services.store.claim("worker-1", "cpu", 1 << 30)
    assert claim is not None and claim.kind == "build"
    onnx = composed.encoded()
    manifest = Manifest(
        "toy", "generated_rows", "generation", "plan", two_sample.__name__, "2026-01-01T00:00:00Z", (),
        {name: name for name in composed.outputs}, members=(Member(0, "toy", 1.0),), info={"generation": composed.spec},
    )  # fmt: skip
    stored, graph = services.storage.put(bundle_bytes(onnx, manifest)), services.storage.put(onnx)
    model = new_id("mdl")
    values: dict[str, Any] = {
        "owner": "local", "name": "toy", "description": "", "aliases": [], "kind": manifest.kind, "task": manifest.task,
        "manifest": manifest.to_json(), "score": 0.5, "bundle_blob": stored.id, "onnx_blob": graph.id,
        "size_bytes": stored.size, "sha256": stored.sha256, "onnx_sha256": graph.sha256,
    }  # fmt: skip
    assert services.store.finish_build(claim, model, 0.5, None, values)
    return model


def test_rows_are_drawn_by_seed_and_condition(there: There) -> None:
    path = f"/v1/models/{there.rows}/generate"
    answer = there.api.post(path, json={"n": 30, "seed": 3, "condition": {"plan": "b"}})
    found = Generated.model_validate_json(answer.content)
    assert found.rows is not None and len(found.rows) == found.n == 30 and found.images is None
    assert {r["plan"] for r in found.rows} == {"b"}
    assert there.api.post(path, json={"n": 30, "seed": 3, "condition": {"plan": "b"}}).json() == answer.json()
    unseeded = there.api.post(path, json={"n": 30}).json()
    assert there.api.post(path, json={"n": 30, "seed": unseeded["seed"]}).json()["rows"] == unseeded["rows"]


def test_accept_chooses_the_form(there: There) -> None:
    text = there.api.post(f"/v1/models/{there.rows}/generate", json={"n": 3}, headers={"Accept": "text/csv"})
    assert text.headers["content-type"].startswith("text/csv") and len(text.text.splitlines()) == 4
    path, asked = f"/v1/models/{there.pictures}/generate", {"n": 5, "seed": 1, "condition": {"side": "left"}}
    sheet = there.api.post(path, json=asked, headers={"Accept": "image/png"})
    assert sheet.headers["content-type"] == "image/png" and sheet.content.startswith(b"\x89PNG")
    packed = there.api.post(path, json=asked, headers={"Accept": "application/zip"})
    names = zipfile.ZipFile(io.BytesIO(packed.content)).namelist()
    assert len(names) == 5 and all(n.startswith("left/") for n in names)
    images = there.api.post(path, json=asked).json()["images"]
    assert [i["side"] for i in images] == ["left"] * 5
    first = zipfile.ZipFile(io.BytesIO(packed.content)).read(names[0])
    assert base64.b64decode(images[0]["png"]) == first


@pytest.mark.parametrize(
    ("kind", "asked", "accept", "status", "told"),
    [
        ("rows", {"n": 0}, "", 422, "not valid"),
        ("rows", {"count": 3}, "", 422, "not valid"),
        ("rows", {"n": "7"}, "", 422, "not valid"),
        ("rows", {"n": True}, "", 422, "not valid"),
        ("rows", {"n": 7, "seed": "3"}, "", 422, "not valid"),
        ("rows", {"condition": {"plan": "z"}}, "", 422, "'plan' is never 'z'"),
        ("rows", {"condition": {"plam": "a"}}, "", 422, "'plam' is not a column of the samples"),
        ("rows", {"n": 1}, "image/png", 415, "rows are no pictures"),
        ("pictures", {"n": 1}, "text/csv", 415, "pictures are no csv"),
        ("pictures", {"n": 5000}, "", 422, "more than the 4096 of one request"),
        ("classifier", {"n": 1}, "", 422, "draws no samples; use predict"),
    ],
)
def test_what_cannot_be_drawn_is_a_problem(
    there: There, kind: str, asked: dict[str, Any], accept: str, status: int, told: str
) -> None:
    headers = {"Accept": accept} if accept else {}
    answer = there.api.post(f"/v1/models/{getattr(there, kind)}/generate", json=asked, headers=headers)
    assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json"
    assert told in answer.json()["detail"] or told in answer.json()["title"]


def test_predicting_with_a_generator_is_a_problem_that_names_the_way(there: There) -> None:
    for verb in ("predict", "explain"):
        answer = there.api.post(f"/v1/models/{there.rows}/{verb}", json={"rows": [{"age": 3}]})
        assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
        assert "use generate" in answer.json()["detail"]


def test_the_card_says_what_a_generator_does(there: There) -> None:
    card = there.api.get(f"/v1/models/{there.rows}/card").json()["markdown"]
    assert "Draws rows like the data, on condition of `plan` if asked" in card
