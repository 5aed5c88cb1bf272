"""Fronts: what turns a column that no graph can read by itself into numbers, the same in training and in serving.

A graph reads numbers and strings.  Decoding a picture or cutting a text into subwords is done before it, by a front that
the manifest declares in the column's `input_schema` entry (`"front": {"kind": ..., ...}`).  A front is fitted on nothing
but the training rows' own text or sizes, never on targets; one belongs to a job, so every member reads the same input.
A front is a module `front_<kind>.py` here with `read(data) -> Front`; it imports numpy and the standard library only, and
what else it needs inside its functions, because its source travels in the bundle.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from assay.data.table import Column
from assay.errors import DataError


class Front(Protocol):
    """One declared way from a raw column to an input of the graph."""

    @property
    def kind(self) -> str: ...

    @property
    def dtype(self) -> str:
        """Of the graph's input: "float32", "int64", "int32", "uint8" or "string"."""
        ...

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Of one row of the graph's input; None for a length that varies from batch to batch."""
        ...

    @property
    def about(self) -> str:
        """What it does, for people who call the graph without it."""
        ...

    def encode(self, column: Column) -> np.ndarray:
        """(n, *shape).  Never raises for single cells: an unreadable one is as if it were missing."""
        ...

    def to_json(self) -> dict[str, Any]:
        """`kind` and everything `from_json` needs."""
        ...


def from_json(data: Mapping[str, Any]) -> Front:
    """The front a manifest declares: `read(data)` of the module `front_<kind>` beside this one.

    Raises DataError for a kind this version does not know.
    """
    kind = str(data.get("kind"))
    try:
        if not kind.isidentifier():
            raise ModuleNotFoundError(kind)
        module = importlib.import_module(f"{__package__}.front_{kind}")
    except ModuleNotFoundError:
        raise DataError(f"the model needs a front of kind {kind!r}, which this version does not know") from None
    front: Front = module.read(data)
    return front
