"""What is installed: families, strategies, tasks and metrics, each with its JSON schema."""

from __future__ import annotations

import inspect
import sys
from functools import cache
from typing import Any

from app.jobs.schemas import SearchPost, TaskPost
from assay.families import discover as families_installed
from assay.families import space_of
from assay.metrics import METRICS, for_kind
from assay.search.strategies import discover as strategies_installed
from assay.tasks import discover as tasks_installed


@cache
def families() -> list[dict[str, Any]]:
    return [
        {
            "object": "family",
            "name": name,
            "tasks": sorted(family.tasks),
            "lane": family.lane,
            "form": getattr(family, "form", ""),
            "about": _first_line(family),
            "reference": family.reference,
            "defaults": space_of(family).defaults(),
            "json_schema": space_of(family).json_schema(),
        }
        for name, family in families_installed().items()
    ]


@cache
def strategies() -> list[dict[str, Any]]:
    schema = SearchPost.model_json_schema()
    return [
        {"object": "strategy", "name": name, "about": _first_line(strategy), "json_schema": schema}
        for name, strategy in strategies_installed().items()
    ]


@cache
def tasks() -> list[dict[str, Any]]:
    schema = TaskPost.model_json_schema()
    found = []
    for name, task in tasks_installed().items():
        properties = {**schema["properties"], "type": {"const": name}}
        found.append(
            {
                "object": "task",
                "name": name,
                "about": task.about,
                "kinds": list(task.kinds),
                "default_metrics": {kind: task.default_metric(kind) for kind in task.kinds},
                "metrics": {kind: for_kind(kind) for kind in task.kinds},
                "families": [f for f, family in families_installed().items() if name in family.tasks],
                "json_schema": {**schema, "properties": properties},
            }
        )
    return found


@cache
def metrics() -> list[dict[str, Any]]:
    return [
        {
            "object": "metric",
            "name": m.name,
            "about": m.about,
            "kinds": sorted(m.kinds),
            "greater_is_better": m.greater_is_better,
            "json_schema": {"type": "number"},
        }
        for m in METRICS.values()
    ]


def _first_line(thing: object) -> str:
    """What a plug-in says of itself: the first line of its class, or of its file."""
    own = vars(type(thing)).get("__doc__")
    module = sys.modules.get(type(thing).__module__)
    text = own or (module.__doc__ if module is not None else "") or ""
    return inspect.cleandoc(text).split("\n")[0]
