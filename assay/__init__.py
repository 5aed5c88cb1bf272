"""Assay: search for the best model for your data, as a library or as a service.

>>> import assay
>>> model = assay.fit("train.csv", target="price", seconds=60)
>>> model.predict("new.csv")
>>> model.save("price.zip")
>>> assay.load("price.zip").predict([{"rooms": 3, "town": "Utrecht"}])

Heavy libraries are imported when they are needed, so `import assay` is instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assay.errors import AssayError, DataError, SpecError, TrialError, UserError
from assay.spec import Budget, JobSpec

if TYPE_CHECKING:
    from assay.library import fit
    from assay.model.predict import Model, load

__version__ = "0.1.0"

__all__ = [
    "AssayError",
    "Budget",
    "DataError",
    "JobSpec",
    "Model",
    "SpecError",
    "TrialError",
    "UserError",
    "__version__",
    "fit",
    "load",
]

_LAZY = {"fit": "assay.library", "Model": "assay.model.predict", "load": "assay.model.predict"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'assay' has no attribute {name!r}")
