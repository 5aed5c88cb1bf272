"""A generator made and used over REST alone."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

import assay
from app.client import ApiError
from tests.e2e.service import processes


def shop(path: Path, n: int = 400) -> Path:
    """A table whose columns hang together: a plan, an age, a spend with gaps, a day."""
    rng = np.random.default_rng(0)
    plan = rng.integers(0, 3, n)
    lines = ["plan,age,spend,joined"]
    for p in plan:
        spend = "" if rng.random() < 0.1 else f"{rng.lognormal(2 + p, 0.4):.2f}"
        joined = np.datetime64("2024-01-01") + int(rng.integers(0, 500))
        lines.append(f"{'abc'[p]},{round(rng.normal(25 + 15 * p, 4))},{spend},{joined}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_rows_are_learned_drawn_on_condition_and_delivered(tmp_path: Path) -> None:
    with processes(tmp_path) as service:
        data = service.client.upload(shop(tmp_path / "shop.csv"))
        job = service.submit(
            str(data["id"]), {"type": "generation", "target": "plan"}, 60, limits={"trials": 2},
            search={"families": ["gaussian_mixture_rows", "sequential_trees"]},
        )  # fmt: skip
        ended = service.wait(job["id"], 90)
        assert ended["status"] == "succeeded", ended["error"]
        assert ended["best"]["metric"] == "fidelity" and 0 < ended["best"]["value"] <= 1
        model = service.client.call("GET", f"/v1/models/{ended['best']['model_id']}")
        assert model["metrics"]["memorised"] < 0.05 and model["metrics"]["tstr"] > 0.8
        path = f"/v1/models/{model['id']}/generate"
        asked = {"n": 40, "seed": 7, "condition": {"plan": "b", "age": {"min": 40}}}
        drawn = service.client.call("POST", path, asked)
        assert drawn["seed"] == 7 and len(drawn["rows"]) == 40
        assert all(r["plan"] == "b" and r["age"] >= 40 for r in drawn["rows"])
        assert service.client.call("POST", path, asked)["rows"] == drawn["rows"]
        text = service.client.call("POST", path, {"n": 5, "seed": 1}, accept="text/csv").decode()
        assert next(csv.reader(io.StringIO(text))) == ["plan", "age", "spend", "joined"]
        for verb, body in (("predict", {"rows": [{"age": 3}]}), ("generate", {"condition": {"plan": "z"}})):
            with pytest.raises(ApiError) as refused:
                service.client.call("POST", f"/v1/models/{model['id']}/{verb}", body)
            assert refused.value.status == 422
        bundle = service.client.download(model["id"], tmp_path / "model.zip")
        loaded = assay.load(bundle)
        assert loaded.generate(40, 7, asked["condition"]).rows() == drawn["rows"]
        assert service.client.call("GET", f"/v1/jobs/{job['id']}/leaderboard")["data"]
