"""What benchmarks through the public API share: a service of their own, one job, its answers for other rows."""

from __future__ import annotations

import csv
import io
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Answered:
    """One job's delivered model.  values: the predictions; answers: the same rows whole, probabilities with them.

    wall: seconds from the request to the model, as a caller sees them.
    """

    values: list[str]
    answers: list[dict[str, str]]
    wall: float
    trials: int
    job: dict[str, Any]
    families: list[str]


@contextmanager
def service() -> Iterator[Any]:
    """An embedded service with every default, in a home of its own."""
    from tests.e2e.service import processes

    with (
        tempfile.TemporaryDirectory(prefix="assay-bench-") as folder,
        processes(Path(folder), alone=True, toys=False) as running,
    ):
        yield running


def ask(
    running: Any,
    name: str,
    train: pd.DataFrame,
    rows: pd.DataFrame,
    task: Mapping[str, Any],
    seconds: float,
    at_once: int = 2000,
    **more: Any,
) -> Answered:
    """Train on `train`, predict `rows`, so many in one request.  Raises RuntimeError when the job fails."""
    path = running.folder / f"{name}.csv"
    train.to_csv(path, index=False)
    dataset = running.client.upload(path)["id"]
    began = time.monotonic()
    made = running.submit(dataset, dict(task), seconds, **more)
    ended = running.wait(made["id"], seconds * 2 + 120)
    wall = time.monotonic() - began
    if ended["status"] != "succeeded":
        raise RuntimeError(f"{name}: {ended['error']}")
    model = ended["best"]["model_id"]
    answers: list[dict[str, str]] = []
    for start in range(0, len(rows), at_once):
        body = rows.iloc[start : start + at_once].to_csv(index=False)
        answer: bytes = running.client.call(
            "POST", f"/v1/models/{model}/predict", body.encode(), content_type="text/csv", accept="text/csv"
        )
        answers += csv.DictReader(io.StringIO(answer.decode("utf-8")))
    members = running.client.call("GET", f"/v1/models/{model}")["members"]
    done = ended["progress"]["trials"]["completed"]
    values = [a["prediction"] for a in answers]
    return Answered(values, answers, wall, done, ended, [f"{m['family']} {m['weight']:.2f}" for m in members])
