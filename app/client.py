"""A small client of the public API, for the command line and the demo: the standard library and nothing else."""

from __future__ import annotations

import json
import mimetypes
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

ENDED = frozenset({"succeeded", "failed", "cancelled"})
MEDIA = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".parquet": "application/vnd.apache.parquet",
    ".arrow": "application/vnd.apache.arrow.file",
    ".jsonl": "application/jsonl",
    ".json": "application/json",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".zip": "application/zip",
    ".gz": "application/gzip",
    ".tgz": "application/gzip",
    ".tar": "application/x-tar",
}


class ApiError(Exception):
    """A non-2xx answer; the text is the problem's detail and its errors, one a line."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        lines = [str(problem.get("detail") or problem.get("title") or f"status {status}")]
        lines += [f"  {e.get('pointer') or ''}: {e.get('message')}" for e in problem.get("errors") or []]
        super().__init__("\n".join(dict.fromkeys(lines)))
        self.status = status
        self.problem = dict(problem)


class Client:
    """Calls one service.  key: an API key, where the service asks for one."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.key = key or os.environ.get("ASSAY_KEY")

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str | None = None,
        accept: str = "application/json",
        timeout: float = 120.0,
    ) -> Any:
        """The decoded JSON answer (None for an empty one); bytes when `accept` is not JSON.  Raises ApiError, OSError."""
        headers = {"Accept": accept}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        if hasattr(body, "read"):
            headers["Content-Length"] = str(os.fstat(body.fileno()).st_size)
        elif body is not None and not isinstance(body, bytes):
            body, content_type = json.dumps(body).encode(), content_type or "application/json"
        if content_type:
            headers["Content-Type"] = content_type
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                data = answer.read()
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, _problem(error)) from None
        if accept != "application/json":
            return data
        return json.loads(data) if data else None

    def upload(self, path: Path, name: str | None = None, content_type: str | None = None) -> dict[str, Any]:
        """Send a file and wait until it is read.  Raises ApiError when it cannot be."""
        kind = (
            content_type
            or MEDIA.get(path.suffix.lower())
            or mimetypes.guess_type(path.name)[0]
            or "application/octet-stream"
        )
        with path.open("rb") as f:
            dataset = self._send(f, name or path.name, kind)
        while dataset["status"] == "validating":
            dataset = self.call("GET", f"/v1/datasets/{dataset['id']}?wait=30")
        if dataset["status"] == "failed":
            raise ApiError(
                422,
                {
                    "detail": (dataset["error"] or {}).get("message", "the file cannot be read"),
                    **(dataset["error"] or {}),
                },
            )
        return dataset

    def _send(self, body: IO[bytes], name: str, kind: str) -> dict[str, Any]:
        from urllib.parse import quote

        answer: dict[str, Any] = self.call(
            "POST", f"/v1/datasets?name={quote(name)}", body, content_type=kind, timeout=3600
        )
        return answer

    def follow(self, job_id: str, wait: float = 1.0) -> Iterator[dict[str, Any]]:
        """The job after every change (and at least every `wait` seconds), until it has ended."""
        while True:
            job: dict[str, Any] = self.call("GET", f"/v1/jobs/{job_id}")
            yield job
            if job["status"] in ENDED:
                return
            time.sleep(wait)

    def download(self, model_id: str, path: Path, format: str = "bundle") -> Path:
        """Save a model's file."""
        data = self.call(
            "GET", f"/v1/models/{model_id}/download?format={format}", accept="application/octet-stream", timeout=600
        )
        path.write_bytes(data)
        return path


def _problem(error: urllib.error.HTTPError) -> dict[str, Any]:
    data = error.read()
    try:
        problem = json.loads(data)
    except ValueError:
        problem = None
    return problem if isinstance(problem, dict) else {"detail": f"{error.code} {error.reason}"}
