"""What the process that training children are forked from imports: what most trials need, once for all of them.

The collector of garbage is off meanwhile: so many new objects, none of them garbage, would make it look at all of them
again and again, which took a fifth of the time (2.5 s instead of 3.2 s on one core).  Frozen, they are not looked at in the
children either, whose memory stays shared.
"""

from __future__ import annotations

import gc
import importlib
import logging

MODULES = [
    "numpy",
    "scipy.linalg",
    "scipy.optimize",
    "scipy.special",
    "scipy.stats",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.neighbors",
    "sklearn.preprocessing",
    "sklearn.tree",
    "lightgbm",
    "catboost",
    "torch",
    "onnx",
    "onnxruntime",
    "pyarrow.parquet",
    "polars",
    "safetensors.numpy",
    "assay.training.evaluate",
    "assay.model.deliver",
    "assay.data.readers",
    "assay.data.profile",
    "assay.tasks.classification",
    "assay.tasks.regression",
    "assay.tasks._supervised",
    "search_spaces",
    "workers.trainer",
]


def load() -> None:
    gc.disable()
    for name in MODULES:
        try:
            importlib.import_module(name)
        except ImportError:  # a child that needs it will say so
            logging.getLogger(__name__).warning("%s cannot be imported", name, exc_info=True)
    gc.freeze()
    gc.enable()


load()
