"""A trial's checkpoint: its graph, its predictions and a few facts in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from assay.errors import DataError
from assay.model.graph import Graph, flatten, unflatten

FORMAT = "assay.checkpoint.1"
BYTES_PER_NODE = 10_000  # 0.4 ms a node against 25 MB a second, measured on 3,100 nodes of MiniRocket
_GRAPH = "graph/"
_ARRAY = "array/"


@dataclass(frozen=True)
class Checkpoint:
    """A stored trial.  The file is mapped, not read: arrays and graph come off the disk when they are asked for."""

    path: Path
    info: Mapping[str, Any]
    written: str  # the graph without its numbers: long to read where it has thousands of nodes, so only when asked for
    names: tuple[str, ...]

    def array(self, name: str) -> np.ndarray:
        """One of the stored arrays.  Raises KeyError."""
        return self._read([_ARRAY + name])[_ARRAY + name]

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return {name: self.array(name) for name in self.names}

    @cached_property
    def graph(self) -> Graph:
        keys = [k for k in _keys(self.path) if k.startswith(_GRAPH)]
        return unflatten(json.loads(self.written), self._read(keys), _GRAPH)

    def _read(self, keys: list[str]) -> dict[str, np.ndarray]:
        from safetensors import safe_open

        with safe_open(self.path, framework="numpy") as file:
            known = set(file.keys())
            missing = [k for k in keys if k not in known]
            if missing:
                raise KeyError(f"{self.path.name} has no {missing[0]!r}; it has {sorted(known)[:8]}")
            return {k: file.get_tensor(k) for k in keys}


def packing_bytes(path: Path, graph: Graph) -> int:
    """What composing, replaying and packing a checkpoint costs besides running its graph: its bytes, and those that would
    cost as much as its nodes do, most of it in the runtime that loads them."""
    return path.stat().st_size + BYTES_PER_NODE * len(graph.nodes)


def save(path: Path | str, graph: Graph, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
    """Write a checkpoint.  info: JSON-able facts; arrays: by name, e.g. out-of-fold and gate predictions.

    The file appears whole or not at all: it is written beside its place and renamed.
    """
    from safetensors.numpy import save_file

    structure, numbers = flatten(graph, _GRAPH)
    tensors = numbers | {_ARRAY + name: np.asarray(a, order="C") for name, a in arrays.items()}
    metadata = {"format": FORMAT, "graph": json.dumps(structure), "info": json.dumps(dict(info))}
    path = Path(path)
    beside = path.with_name(path.name + ".part")
    save_file(tensors, beside, metadata=metadata)
    beside.replace(path)


def load(path: Path | str) -> Checkpoint:
    """Open a checkpoint.  Raises DataError for a file that is none."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata, keys = file.metadata() or {}, list(file.keys())
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path.name} is not a readable checkpoint: {error}", file=path.name) from error
    if metadata.get("format") != FORMAT:
        raise DataError(f"{path.name} is not a checkpoint of this version ({FORMAT})", file=path.name)
    names = tuple(sorted(k.removeprefix(_ARRAY) for k in keys if k.startswith(_ARRAY)))
    return Checkpoint(path, json.loads(metadata["info"]), metadata["graph"], names)


def _keys(path: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return list(file.keys())
