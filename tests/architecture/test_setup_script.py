"""The set-up script imports what the service imports, so that it is compiled once; a module that moved would go unnoticed."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "setup.sh"


def test_every_module_that_is_compiled_ahead_exists() -> None:
    (_, body), *_ = (part.split("\n", 1) for part in SCRIPT.read_text(encoding="utf-8").split("<<'PYTHON'")[1:])
    tree = ast.parse(body.split("\nPYTHON\n")[0])
    assert all(isinstance(line, ast.Import) for line in tree.body)  # nothing else that could fail
    names = [alias.name for line in tree.body if isinstance(line, ast.Import) for alias in line.names]
    assert "workers.preload" in names
    assert [name for name in names if find_spec(name) is None] == []
