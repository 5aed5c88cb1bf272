"""Search spaces: dimensions, conditions, and the values between them.

A family's `Config` is a frozen dataclass whose annotations are its space and whose defaults are trial 0:

>>> from dataclasses import dataclass
>>> from typing import Annotated
>>> @dataclass(frozen=True)
... class Config:
...     optimizer: Annotated[str, Choice("sgd", "adam")] = "adam"
...     lr: Annotated[float, Float(1e-4, 1.0, log=True)] = 1e-2
...     momentum: Annotated[float, Float(0.5, 0.99), When("optimizer", "sgd")] = 0.9
>>> Space.of(Config).active({"optimizer": "adam", "lr": 0.1})
('optimizer', 'lr')

A configuration is a plain dict with one value for every dimension, JSON types only.  A dimension whose condition does
not hold keeps its default, so equal behaviour has one spelling (`Space.complete`).
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np

Value = float | int | str | bool | None
Values = dict[str, Value]

_encode = json.JSONEncoder(sort_keys=True).encode  # made once: histories of thousands of trials are keyed per proposal


@dataclass(frozen=True)
class Float:
    """A real number in [low, high]; `log` searches its logarithm."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self)

    def contains(self, value: object) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and self.low <= value <= self.high

    def to_unit(self, value: Value) -> float:
        """Position of a value in [0, 1], on the searched (perhaps logarithmic) scale."""
        return _to_unit(float(value), self.low, self.high, self.log)  # type: ignore[arg-type]

    def from_unit(self, u: float) -> float:
        value = _from_unit(u, self.low, self.high, self.log)
        return float(min(self.high, max(self.low, value)))


@dataclass(frozen=True)
class Int:
    """A whole number in [low, high], both included; `log` searches its logarithm."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self)

    def contains(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def to_unit(self, value: Value) -> float:
        return _to_unit(float(value), self.low - 0.5, self.high + 0.5, self.log)  # type: ignore[arg-type]

    def from_unit(self, u: float) -> int:
        value = round(_from_unit(u, self.low - 0.5, self.high + 0.5, self.log))
        return int(min(self.high, max(self.low, value)))


class Choice:
    """One of several values without order.  `Choice("a", "b")`."""

    def __init__(self, *values: Value) -> None:
        if not values or len(set(values)) != len(values):
            raise ValueError(f"a Choice needs distinct values, got {values!r}")
        self.values: tuple[Value, ...] = values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choice) and self.values == other.values

    def __hash__(self) -> int:
        return hash(self.values)

    def __repr__(self) -> str:
        return f"Choice{self.values!r}"

    def contains(self, value: object) -> bool:
        return any(value == v and isinstance(value, bool) == isinstance(v, bool) for v in self.values)

    def to_unit(self, value: Value) -> float:
        return (self.values.index(value) + 0.5) / len(self.values)

    def from_unit(self, u: float) -> Value:
        return self.values[min(len(self.values) - 1, int(u * len(self.values)))]


@dataclass(frozen=True, init=False)
class When:
    """The dimension counts only while another one (declared before it) has one of these values."""

    name: str
    values: tuple[Value, ...]

    def __init__(self, name: str, *values: Value) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "values", values)

    def holds(self, values: Mapping[str, Value]) -> bool:
        return values.get(self.name) in self.values


Domain = Float | Int | Choice


@dataclass(frozen=True)
class Dimension:
    """One named axis of a space with its default and, perhaps, its condition."""

    name: str
    domain: Domain
    default: Value
    when: When | None = None


@dataclass(frozen=True)
class Space:
    """An ordered set of dimensions; a condition only refers to a dimension before it."""

    dimensions: tuple[Dimension, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for d in self.dimensions:
            if d.name in seen:
                raise ValueError(f"dimension {d.name!r} is declared twice")
            if d.when is not None and d.when.name not in seen:
                raise ValueError(f"{d.name!r} depends on {d.when.name!r}, which is not declared before it")
            if not d.domain.contains(d.default):
                raise ValueError(f"default {d.default!r} of {d.name!r} lies outside {d.domain!r}")
            seen.add(d.name)

    @staticmethod
    def of(config: type) -> Space:
        """The space written in a Config dataclass: `Annotated[type, domain, When(...)]` fields with defaults.

        A field without a domain is a constant and takes no part in the search.
        """
        hints = get_type_hints(config, include_extras=True)
        found: list[Dimension] = []
        for field in dataclasses.fields(config):
            hint = hints[field.name]
            if get_origin(hint) is not Annotated:
                continue
            marks = get_args(hint)[1:]
            domain = next((m for m in marks if isinstance(m, (Float, Int, Choice))), None)
            when = next((m for m in marks if isinstance(m, When)), None)
            if domain is not None:
                if field.default is dataclasses.MISSING:
                    raise ValueError(f"{config.__qualname__}.{field.name} has a domain but no default")
                found.append(Dimension(field.name, domain, field.default, when))
        return Space(tuple(found))

    def __iter__(self) -> Iterator[Dimension]:
        return iter(self.dimensions)

    def __len__(self) -> int:
        return len(self.dimensions)

    def __getitem__(self, name: str) -> Dimension:
        for d in self.dimensions:
            if d.name == name:
                return d
        raise KeyError(name)

    def defaults(self) -> Values:
        return {d.name: d.default for d in self.dimensions}

    def active(self, values: Mapping[str, Value]) -> tuple[str, ...]:
        """Names of the dimensions that count under these values: their whole chain of conditions holds."""
        names: list[str] = []
        full: Values | None = None
        for d in self.dimensions:
            if d.when is not None and full is None:
                full = {**self.defaults(), **values}
            if d.when is None or full is None or (d.when.name in names and d.when.holds(full)):
                names.append(d.name)
        return tuple(names)

    def complete(self, values: Mapping[str, Value]) -> Values:
        """The one spelling of a configuration: missing and inactive dimensions take their default."""
        full = {d.name: values.get(d.name, d.default) for d in self.dimensions}
        active = set(self.active(full))
        return {d.name: full[d.name] if d.name in active else d.default for d in self.dimensions}

    def contains(self, values: Mapping[str, Value]) -> bool:
        """True when every dimension has a value inside its domain and nothing else is named."""
        names = {d.name for d in self.dimensions}
        return set(values) == names and all(d.domain.contains(values[d.name]) for d in self.dimensions)

    def sample(self, rng: np.random.Generator) -> Values:
        """A configuration drawn uniformly (on each dimension's searched scale)."""
        return self.complete({d.name: d.domain.from_unit(float(rng.random())) for d in self.dimensions})

    def neighbours(
        self, values: Mapping[str, Value], rng: np.random.Generator, n: int, scale: float = 0.1
    ) -> list[Values]:
        """n configurations one or two active dimensions away: a normal step of `scale`, or another choice."""
        return [self._neighbour(values, rng, scale) for _ in range(n)]

    def _neighbour(self, values: Mapping[str, Value], rng: np.random.Generator, scale: float) -> Values:
        changed = dict(values)
        active = self.active(values)
        if not active:
            return self.complete(changed)
        for name in rng.choice(active, size=min(len(active), int(rng.integers(1, 3))), replace=False):
            changed[str(name)] = self.mutate(str(name), values[str(name)], rng, scale)
        return self.complete(changed)

    def mutate(self, name: str, value: Value, rng: np.random.Generator, scale: float) -> Value:
        """Another value for one dimension: reflected normal step on the unit scale, or another choice."""
        domain = self[name].domain
        if isinstance(domain, Choice):
            others = [v for v in domain.values if v != value]
            return others[int(rng.integers(len(others)))] if others else value
        return domain.from_unit(_reflect(domain.to_unit(value) + float(rng.normal()) * scale))

    def to_unit(self, values: Mapping[str, Value]) -> np.ndarray:
        """The configuration as a point of [0, 1]^d, in dimension order."""
        return np.array([d.domain.to_unit(values[d.name]) for d in self.dimensions], dtype=np.float64)

    def from_unit(self, point: np.ndarray) -> Values:
        units = zip(self.dimensions, point, strict=True)
        return self.complete({d.name: d.domain.from_unit(float(u)) for d, u in units})

    def key(self, values: Mapping[str, Value]) -> str:
        """A stable text that two configurations share when, and only when, they behave the same."""
        return _encode(self.complete(values))

    def narrowed(self, name: str, values: Sequence[Value]) -> Space | None:
        """The space with only these values of a Choice, in its own order; None when it has none of them.

        The default becomes the first one left where the old one went.  A space without the dimension stays as it is.
        """
        if all(d.name != name for d in self.dimensions):
            return self
        domain = self[name].domain
        if not isinstance(domain, Choice):
            raise ValueError(f"{name!r} is not a choice")
        kept = tuple(v for v in domain.values if v in values)
        if not kept:
            return None
        return Space(
            tuple(
                replace(d, domain=Choice(*kept), default=d.default if d.default in kept else kept[0])
                if d.name == name
                else d
                for d in self.dimensions
            )
        )

    def size(self) -> float:
        """Number of distinct configurations; infinite with a Float dimension.  Conditions are not discounted."""
        total = 1.0
        for d in self.dimensions:
            if isinstance(d.domain, Float):
                return math.inf
            total *= len(d.domain.values) if isinstance(d.domain, Choice) else d.domain.high - d.domain.low + 1
        return total

    def to_json(self) -> list[dict[str, Any]]:
        return [_dimension_to_json(d) for d in self.dimensions]

    @staticmethod
    def from_json(data: list[dict[str, Any]]) -> Space:
        return Space(tuple(_dimension_from_json(d) for d in data))

    def json_schema(self) -> dict[str, Any]:
        """The space as JSON Schema, for the catalogue."""
        properties: dict[str, Any] = {}
        for d in self.dimensions:
            if isinstance(d.domain, Choice):
                body: dict[str, Any] = {"enum": list(d.domain.values)}
            else:
                kind = "integer" if isinstance(d.domain, Int) else "number"
                body = {"type": kind, "minimum": d.domain.low, "maximum": d.domain.high}
                if d.domain.log:
                    body["x-scale"] = "log"
            body["default"] = d.default
            if d.when is not None:
                body["x-when"] = {d.when.name: list(d.when.values)}
            properties[d.name] = body
        return {"type": "object", "properties": properties, "additionalProperties": False}


def build(config: type, values: Mapping[str, Value]) -> Any:
    """A Config instance from plain values.  Unknown names raise TypeError, as the dataclass does."""
    return config(**values)


def _check_range(domain: Float | Int) -> None:
    if not -math.inf < domain.low <= domain.high < math.inf:
        raise ValueError(f"{domain!r}: low must not exceed high, and both must be finite")
    if domain.log and domain.low <= 0:
        raise ValueError(f"{domain!r}: a logarithmic range must start above 0")


def _dimension_to_json(d: Dimension) -> dict[str, Any]:
    body: dict[str, Any] = {"name": d.name, "default": d.default}
    if isinstance(d.domain, Choice):
        body["choice"] = list(d.domain.values)
    else:
        kind = "int" if isinstance(d.domain, Int) else "float"
        body[kind] = [d.domain.low, d.domain.high]
        body["log"] = d.domain.log
    if d.when is not None:
        body["when"] = [d.when.name, list(d.when.values)]
    return body


def _dimension_from_json(data: Mapping[str, Any]) -> Dimension:
    domain: Domain
    if "choice" in data:
        domain = Choice(*data["choice"])
    elif "int" in data:
        low, high = data["int"]
        domain = Int(low, high, data["log"])
    else:
        low, high = data["float"]
        domain = Float(low, high, data["log"])
    when = When(data["when"][0], *data["when"][1]) if "when" in data else None
    return Dimension(data["name"], domain, data["default"], when)


def _to_unit(value: float, low: float, high: float, log: bool) -> float:
    if high <= low:
        return 0.5
    if log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _from_unit(u: float, low: float, high: float, log: bool) -> float:
    if log:
        return math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
    return low + u * (high - low)


def _reflect(u: float) -> float:
    u = abs(u) % 2.0
    return 2.0 - u if u > 1.0 else u
