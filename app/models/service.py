"""What can be done with delivered models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Row

from app.accounts.service import Principal
from app.answers import finite, time
from app.db.engine import transaction
from app.deps import Services
from app.errors import ApiError, closest, not_found
from app.ids import is_id
from app.models import repository as rows

_NUMBERS = ("number", "integer")


def to_json(row: Any, root: str = "") -> dict[str, Any]:
    """The REST shape of a model."""
    manifest = row.manifest
    base = f"{root}/v1/models/{row.id}"
    return {
        "id": row.id,
        "object": "model",
        "job_id": row.job_id,
        "name": row.name,
        "description": row.description or "",
        "aliases": row.aliases or [],
        "kind": row.kind,
        "task": row.task,
        "target": manifest.get("target", ""),
        "classes": manifest.get("classes", []),
        "metric": manifest.get("metric", ""),
        "score": finite(row.score),
        "metrics": manifest.get("metrics", {}),
        "test_metrics": manifest.get("test_metrics", {}),
        "members": manifest.get("members", []),
        "input_schema": [
            {k: f.get(k) for k in ("name", "type", "required", "example")} for f in manifest.get("input_schema", [])
        ],
        "formats": ["bundle", "onnx"],
        "size_bytes": row.size_bytes,
        "sha256": row.sha256,
        "created_at": time(row.created_at),
        "links": {
            "self": base,
            "job": f"{root}/v1/jobs/{row.job_id}",
            "download": f"{base}/download",
            "card": f"{base}/card",
            "schema": f"{base}/schema",
            "predict": f"{base}/predict",
            "explain": f"{base}/explain",
            **({"generate": f"{base}/generate"} if row.task == "generation" else {}),
        },
    }


def get(services: Services, caller: Principal, name: str) -> Row[Any]:
    """By id or `name@alias`."""
    with transaction(services.engine, read_only=True) as connection:
        return find(connection, caller, name)


def find(connection: Connection, caller: Principal, text: str) -> Row[Any]:
    if is_id("mdl", text):
        row = rows.get(connection, caller.owner, text)
        if row is None:
            raise not_found("model", text)
        return row
    name, at, alias = text.rpartition("@")
    if not at or "\0" in text:
        raise ApiError("not_found", f"{text!r} is neither a model's id (mdl_...) nor name@alias")
    found = rows.named(connection, caller.owner, name)
    if not found:
        raise ApiError("not_found", f"there is no model named {name!r}")
    row = next((m for m in found if alias in (m.aliases or [])), None)
    if row is None:
        known = [a for m in found for a in m.aliases or []]
        raise ApiError("not_found", f"no model named {name!r} has the alias {alias!r}; {closest(alias, known)}")
    return row


def patch(
    services: Services, caller: Principal, id: str, values: Mapping[str, Any], check: Callable[[Any], None]
) -> Any:
    with transaction(services.engine) as connection:
        row = find(connection, caller, id)
        check(row)
        changed = {k: v for k, v in values.items() if v is not None}
        if "aliases" in changed:
            changed["aliases"] = list(dict.fromkeys(changed["aliases"]))
        aliases = changed.get("aliases", row.aliases or [])
        if aliases:
            rows.take_aliases(connection, caller.owner, changed.get("name", row.name), aliases, row.id)
        rows.change(connection, row.id, changed)
        return find(connection, caller, row.id)


def delete(services: Services, caller: Principal, id: str) -> None:
    with transaction(services.engine) as connection:
        rows.remove(connection, find(connection, caller, id), services.clock())


def schema_json(row: Any) -> dict[str, Any]:
    """The input as a JSON schema of one row; null is a missing value."""
    manifest = row.manifest
    columns = manifest.get("input_schema", [])
    properties = {
        f["name"]: {"type": ["number", "null"] if f["type"] in _NUMBERS else ["string", "number", "boolean", "null"]}
        | ({"examples": [f["example"]]} if f.get("example") is not None else {})
        for f in columns
    }
    return {
        "object": "schema",
        "model_id": row.id,
        "columns": columns,
        "fronts": manifest.get("fronts", {}),
        "outputs": manifest.get("outputs", {}),
        "json_schema": {"type": "object", "properties": properties},
    }


def card(row: Any) -> dict[str, Any]:
    return {"object": "model_card", "model_id": row.id, "markdown": markdown(row), "facts": row.manifest}


def markdown(row: Any) -> str:
    """The model card, for people."""
    m = row.manifest
    info = m.get("info", {})
    lines = [f"# {_inline(row.name)}", ""]
    if row.description:
        lines += [_inline(row.description), ""]
    lines += [
        _purpose(m),
        "",
        f"- Model: `{row.id}`, made {m.get('created_at')} by job `{row.job_id}`",
        f"- SHA-256 of the bundle: `{row.sha256}` ({row.size_bytes:,} bytes)",
    ]
    if m.get("classes"):
        lines.append("- Classes: " + ", ".join(f"`{_code(c)}`" for c in m["classes"][:50]))
    if info.get("rows"):
        lines.append("- Rows: " + ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in info["rows"].items()))
    if info.get("validation"):
        v = info["validation"]
        lines.append(f"- Validation: {v.get('method')}, {v.get('folds')} folds")
    lines += ["", "## Quality", "", "| metric | validation | test |", "|---|---|---|"]
    test = m.get("test_metrics", {})
    for name, value in m.get("metrics", {}).items():
        mark = " (optimised)" if name == m.get("metric") else ""
        lines.append(f"| {name}{mark} | {_number(value)} | {_number(test.get(name))} |")
    lines += _sureness(info)
    lines += ["", "## Members", "", "| trial | family | weight |", "|---|---|---|"]
    lines += [f"| {x['trial']} | {x['family']} | {x['weight']:.3f} |" for x in m.get("members", [])]
    lines += ["", "## Input", "", "| column | type | example |", "|---|---|---|"]
    lines += [
        f"| {_inline(f['name'])} | {f['type']} | {_inline('' if f.get('example') is None else f['example'])} |"
        for f in m.get("input_schema", [])
    ]
    return "\n".join(lines) + "\n"


def _sureness(info: Mapping[str, Any]) -> list[str]:
    """How far the quality may be off, and how far a single prediction."""
    lines = []
    test, single = info.get("test_interval"), info.get("interval")
    if test:
        text = f"{test['metric']} on other test rows like these: {_number(test['low'])} to {_number(test['high'])}"
        lines.append(f"{text}, with probability {test['level']:g}.")
    if single:
        text = f"A true value lies within {_number(single['half_width'])} of the predicted one"
        lines.append(f"{text} with probability {single['level']:g}, on rows like the training rows.")
    if info.get("limits_missed"):
        lines.append(f"Note: {info['limits_missed']}.")
    return ["", *lines] if lines else []


def _purpose(m: Mapping[str, Any]) -> str:
    drawn = m.get("info", {}).get("generation")
    if drawn:
        given = drawn.get("condition")
        asked = f", on condition of `{_code(given['column'])}` if asked" if given else ""
        return f"Draws {'rows' if drawn['data'] == 'rows' else 'pictures'} like the data{asked} ({m.get('task')})."
    columns = len(m.get("input_schema", []))
    grouped = m.get("info", {}).get("clusters")
    if grouped:
        k, noise = len(grouped["sizes"]), grouped["noise"]
        loose = f", {noise} of the training rows are noise" if noise else ""
        return f"Puts rows into {k} clusters by {columns} columns{loose}: {grouped['predict']}."
    return f"Predicts `{_code(m.get('target'))}` ({m.get('task')}, {m.get('kind')}) from {columns} columns."


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _inline(text: object) -> str:
    """Text in Markdown that stays text: no tags, no table breaks, no links."""
    plain = " ".join(str(text).split())
    for sign in "\\`*_{}[]<>|#!":
        plain = plain.replace(sign, "&lt;" if sign == "<" else "&gt;" if sign == ">" else f"\\{sign}")
    return plain


def _code(text: object) -> str:
    return " ".join(str(text).split()).replace("`", "'").replace("|", "/")
