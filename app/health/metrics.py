"""Counters of this process and gauges from the rows, in Prometheus' text form."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)  # seconds
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Counters:
    """Requests by method, route and status, and how long they took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, str, int], int] = {}
        self._buckets: dict[tuple[str, str], list[int]] = {}
        self._seconds: dict[tuple[str, str], float] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        with self._lock:
            key = (method, route, status)
            self._requests[key] = self._requests.get(key, 0) + 1
            place = (method, route)
            buckets = self._buckets.setdefault(place, [0] * (len(BUCKETS) + 1))
            index = next((i for i, b in enumerate(BUCKETS) if seconds <= b), len(BUCKETS))
            buckets[index] += 1
            self._seconds[place] = self._seconds.get(place, 0.0) + seconds

    def lines(self) -> Iterable[str]:
        with self._lock:
            requests, buckets, total = (
                dict(self._requests),
                {k: list(v) for k, v in self._buckets.items()},
                dict(self._seconds),
            )
        yield "# HELP assay_http_requests_total Requests answered."
        yield "# TYPE assay_http_requests_total counter"
        for (method, route, status), n in sorted(requests.items()):
            yield _line("assay_http_requests_total", {"method": method, "route": route, "status": status}, n)
        yield "# HELP assay_http_request_seconds Time to answer."
        yield "# TYPE assay_http_request_seconds histogram"
        for (method, route), counts in sorted(buckets.items()):
            labels = {"method": method, "route": route}
            so_far = 0
            for bound, n in zip((*BUCKETS, "+Inf"), counts, strict=True):
                so_far += n
                yield _line("assay_http_request_seconds_bucket", {**labels, "le": bound}, so_far)
            yield _line("assay_http_request_seconds_sum", labels, round(total[method, route], 6))
            yield _line("assay_http_request_seconds_count", labels, so_far)


def gauge(name: str, about: str, values: Mapping[tuple[tuple[str, Any], ...], float]) -> Iterable[str]:
    """values: labels -> value."""
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} gauge"
    for labels, value in sorted(values.items(), key=repr):
        yield _line(name, dict(labels), value)


def _line(name: str, labels: Mapping[str, Any], value: float) -> str:
    inside = ",".join(f'{k}="{_escaped(str(v))}"' for k, v in labels.items())
    return f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
