"""The answers of several targets, as the service and the csv tell them.  Masks are told as by segmentation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Outputs = Mapping[str, np.ndarray]
Targets = Sequence[Mapping[str, Any]]  # from the manifest: name, kind, classes, outputs


def answers(outputs: Outputs, targets: Targets) -> list[dict[str, Any]]:
    """`{"value": {target: ...}, "probabilities": {target: {class: share}}}` for every row."""
    n = len(next(iter(outputs.values()))) if outputs else 0
    found: list[dict[str, Any]] = [{"value": {}, "probabilities": {}} for _ in range(n)]
    for i, target in enumerate(targets):
        values, shares = _of(outputs, i, target)
        for row, value in zip(found, values, strict=True):
            row["value"][target["name"]] = value
        for row, p in zip(found, shares.tolist() if shares is not None else (), strict=False):
            row["probabilities"][target["name"]] = dict(zip(target["classes"], p, strict=True))
    return found


def csv_rows(outputs: Outputs, targets: Targets) -> Iterator[list[str]]:
    """Header and rows: `prediction_<target>`, then `probability_<target>_<class>` for its classes."""
    header: list[str] = []
    columns: list[list[str]] = []
    for i, target in enumerate(targets):
        values, shares = _of(outputs, i, target)
        header.append(f"prediction_{target['name']}")
        columns.append([_cell(v) for v in values])
        if shares is not None:
            header += [f"probability_{target['name']}_{c}" for c in target["classes"]]
            columns += [[repr(p) for p in column] for column in shares.T.tolist()]
    yield header
    yield from (list(row) for row in zip(*columns, strict=True))


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps({k: value[k] for k in ("size", "counts")}, ensure_ascii=False)
    return value if isinstance(value, str) else repr(value)


def _of(outputs: Outputs, i: int, target: Mapping[str, Any]) -> tuple[list[Any], np.ndarray | None]:
    if f"mask_{i}" in outputs:
        from assay.vision.answers import mask_answers

        seen = {"mask": outputs[f"mask_{i}"], "size": outputs["size"]}
        return [a["value"] for a in mask_answers(seen, target["classes"], int(target["side"]))], None
    if target["classes"]:
        return [str(v) for v in outputs[f"label_{i}"].tolist()], outputs[f"probabilities_{i}"]
    return [float(v) for v in outputs[f"value_{i}"][:, 0]], None
