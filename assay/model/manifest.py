"""What a delivered model says of itself: the manifest beside the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from assay.errors import DataError

FORMAT = "assay.model.1"


@dataclass(frozen=True)
class Member:
    """One trial in the ensemble.  Weights of all members sum to 1."""

    trial: int
    family: str
    weight: float


@dataclass(frozen=True)
class Manifest:
    """Facts of a delivered model.

    kind: "binary", "multiclass", "regression", ...  metrics: public values on validation rows; test_metrics: on rows no
    trial saw.  input_schema: for every input column in order `name`, `type`, `required`, `example` and `format` (how
    its text is written).  outputs: public name of each answer ("label", "probabilities", "value") to its name in the
    graph.  threshold: probability from which the second of two classes is answered, or, of more
    classes, a factor for the probability of each before they are compared; None for the most probable.
    fronts: what happens to a column's text before it enters the graph, by column.  created_at: RFC 3339, UTC.
    """

    name: str
    kind: str
    task: str
    target: str
    metric: str
    created_at: str
    input_schema: tuple[Mapping[str, Any], ...]
    outputs: Mapping[str, str]
    classes: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    test_metrics: Mapping[str, float] = field(default_factory=dict)
    members: tuple[Member, ...] = ()
    threshold: float | tuple[float, ...] | None = None
    temperature: float = 1.0
    fronts: Mapping[str, str] = field(default_factory=dict)
    leaderboard: tuple[Mapping[str, Any], ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(f["name"] for f in self.input_schema)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists."""
        return {"format": FORMAT, **_plain(asdict(self))}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Manifest:
        """The inverse.  Fields of later versions are passed over.  Raises DataError when something essential lacks."""
        if data.get("format") != FORMAT:
            raise DataError(f"the manifest says format {data.get('format')!r}; this version reads {FORMAT!r}")
        known = {k: v for k, v in data.items() if k in Manifest.__dataclass_fields__}
        try:
            known["members"] = tuple(Member(m["trial"], m["family"], m["weight"]) for m in known.get("members", ()))
            if isinstance(known.get("threshold"), list):
                known["threshold"] = tuple(map(float, known["threshold"]))
            known |= {k: tuple(known[k]) for k in ("input_schema", "classes", "leaderboard") if k in known}
            manifest = Manifest(**known)
        except (KeyError, TypeError) as error:
            raise DataError(f"the manifest is incomplete: {error}") from error
        if not all(isinstance(f, Mapping) and {"name", "type"} <= f.keys() for f in manifest.input_schema):
            raise DataError("the manifest's input_schema must give a name and a type for every column")
        return manifest


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value.item() if hasattr(value, "item") else value
