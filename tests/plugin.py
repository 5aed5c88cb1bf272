"""A plug-in package written to a folder: families that do nothing, or misbehave on purpose.

Put the folder on PYTHONPATH and the families are found like any installed plug-in's.
"""

from __future__ import annotations

from pathlib import Path

SOURCE = '''
"""Toy families for tests and benchmarks."""
from dataclasses import dataclass
from typing import Annotated
import numpy as np
from assay.data.prepare import Recipe
from assay.families import Cost
from assay.model.graph import Scope
from assay.space import Choice, Float


class Constant:
    """The training mean, whatever is asked."""

    def __init__(self, answer):
        self.answer = np.asarray(answer, np.float32)[None]

    def predict(self, x):
        return np.repeat(self.answer, len(x), axis=0)

    def to_onnx(self, x):
        scope = Scope()
        zero = scope.add("ReduceSum", scope.add("Mul", x, scope.const(np.float32(0))), scope.const(np.array([1])), keepdims=1)
        clean = scope.add("Where", scope.add("IsNaN", zero), scope.const(np.zeros((1, 1), np.float32)), zero)
        return scope.graph(scope.add("Add", clean, scope.const(self.answer)))


@dataclass(frozen=True)
class Config:
    x: Annotated[float, Float(0.0, 1.0)] = 0.5
    how: Annotated[str, Choice("a", "b", "c")] = "a"


class Toy:
    tasks = frozenset({"classification", "regression"})
    lane = "cpu"
    Config = Config
    reference = "none: a toy"

    def __init__(self, name, act=None):
        self.name = name
        self.act = act

    def recipe(self, config):
        return Recipe(numbers="raw", impute=True, categories="drop")

    def steps(self, config):
        return 1

    def cost(self, config, shape):
        return Cost(0.001, 1_000_000)

    def fit(self, config, data, ctx):
        if self.act is not None:
            self.act()
        if data.target.is_regression:
            return Constant([float(np.mean(data.y)) + config.x * 1e-3])
        share = (np.bincount(data.y, minlength=data.target.n_classes) + 1.0) ** (0.5 + config.x)
        return Constant(share / share.sum())


def _exit():
    import os
    os._exit(3)


def _segfault():
    import ctypes
    ctypes.string_at(0)


def _memory():
    hoard = []
    while True:
        hoard.append(np.ones(40_000_000))


def _hang():
    import time
    while True:
        time.sleep(1000)


def _slow():
    import time
    time.sleep(0.4)


def _raise():
    raise RuntimeError("this family always fails")


def families():
    acts = {"exits": _exit, "segfaults": _segfault, "hoards": _memory, "hangs": _hang, "raises": _raise, "slow": _slow}
    return [Toy("zero_work")] + [Toy("toy_" + name, act) for name, act in acts.items()]
'''


def write_plugin(folder: Path) -> Path:
    """Write the package and its entry point; returns the folder to put on PYTHONPATH."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "assay_toys.py").write_text(SOURCE)
    info = folder / "assay_toys-0.1.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: assay-toys\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[assay.families]\ntoys = assay_toys:families\n")
    return folder
