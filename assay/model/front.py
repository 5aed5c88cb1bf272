"""The front as source files for a bundle: the very code that reads people's rows here, to be read by it there.

The modules are followed through their imports, so the bundle holds what `assay.data.rows` needs and no more.  They use
numpy and the standard library only; libraries imported inside functions are for reading training files.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

START = "assay.data.rows"
PACKAGE = "front"
_IMPORT = re.compile(r"^(\s*from )assay(?:\.\w+)*\.(\w+)( import )", re.MULTILINE)


def front_files(kinds: Iterable[str] = ()) -> dict[str, bytes]:
    """The package `front` by file name.  kinds: of the fronts a model declares (`assay.data.fronts`)."""
    files = {f"{PACKAGE}/__init__.py": b'"""Reads rows as the training file was read.  Written by Assay."""\n'}
    for module in _modules((START, *(f"assay.data.front_{kind}" for kind in sorted(set(kinds))))):
        files[f"{PACKAGE}/{module.rsplit('.', 1)[-1]}.py"] = moved(_source(module)).encode()
    return files


def moved(source: str) -> str:
    """Source whose imports from Assay come from the package `front` instead."""
    return _IMPORT.sub(rf"\g<1>{PACKAGE}.\g<2>\g<3>", source)


@cache
def _modules(start: tuple[str, ...]) -> tuple[str, ...]:
    found: list[str] = []
    wanted = list(start)
    while wanted:
        module = wanted.pop()
        if module in found:
            continue
        found.append(module)
        for statement in ast.parse(_source(module)).body:
            if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("assay."):
                wanted.append(str(statement.module))
    return tuple(sorted(found))


def _source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the source of {module} is not installed")
    return Path(spec.origin).read_text("utf-8")
