"""Loaded models: the few used last stay in memory, each by the content of its bundle."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from app.storage import Storage

if TYPE_CHECKING:
    from assay.model.predict import Model

KEPT = 8
KEPT_BYTES = 1 << 30


class Shelf:
    """Least recently used models go first.  Safe for threads; one that is being loaded is waited for."""

    def __init__(self, storage: Storage, kept: int = KEPT, kept_bytes: int = KEPT_BYTES) -> None:
        self._storage = storage
        self._kept = kept
        self._kept_bytes = kept_bytes
        self._models: OrderedDict[str, tuple[Model, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}

    def get(self, row: Any) -> Model:
        """The model of a ModelRow."""
        found = self._known(row.sha256)
        if found is not None:
            return found
        with self._lock:
            gate = self._loading.setdefault(row.sha256, threading.Lock())
        with gate:
            found = self._known(row.sha256)
            if found is None:
                found = self._load(row)
        with self._lock:
            self._loading.pop(row.sha256, None)
        return found

    def _known(self, sha256: str) -> Model | None:
        with self._lock:
            if sha256 not in self._models:
                return None
            self._models.move_to_end(sha256)
            return self._models[sha256][0]

    def _load(self, row: Any) -> Model:
        from assay.model.predict import load

        model = load(self._storage.read(row.bundle_blob))
        with self._lock:
            self._models[row.sha256] = (model, len(model.onnx))
            while len(self._models) > 1 and (
                len(self._models) > self._kept or sum(size for _, size in self._models.values()) > self._kept_bytes
            ):
                self._models.popitem(last=False)
        return model
