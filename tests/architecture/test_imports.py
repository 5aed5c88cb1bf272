"""Who may import whom, and what an import may cost."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

import assay.search.strategies
import search_spaces

ROOT = Path(__file__).parents[2]
HEAVY = (
    *("alembic", "celery", "fastapi", "psycopg", "redis", "sqlalchemy", "uvicorn"),
    *("openpyxl", "pandas", "polars", "pyarrow", "matplotlib", "plotly"),
    *("catboost", "lightgbm", "onnx", "onnxruntime", "optuna", "scipy", "sklearn", "torch"),
)

FAMILY_MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(search_spaces.__path__, "search_spaces.")
    if not module.ispkg and not module.name.rsplit(".", 1)[-1].startswith("_")
)
STRATEGY_MODULES = sorted(
    f"assay.search.strategies.{module.name}"
    for module in pkgutil.iter_modules(assay.search.strategies.__path__)
    if not module.name.startswith("_")
)


def heavy_modules_after(statements: str) -> set[str]:
    """Which of HEAVY a fresh interpreter holds after the statements."""
    program = f"{statements}\nimport sys\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("assay", "search_spaces", "app", "workers", cache_dir=None)


def test_the_import_contracts_of_pyproject_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_assay_loads_no_heavy_library() -> None:
    assert heavy_modules_after("import assay") == set()


def test_listing_families_and_strategies_loads_no_heavy_library() -> None:
    listing = (
        "import assay.families, assay.search.strategies\n"
        "assert assay.families.discover(), 'no family found: is the package installed?  make setup'\n"
        "assert assay.search.strategies.discover()"
    )
    assert heavy_modules_after(listing) == set()


def test_asking_families_whether_they_can_be_used_loads_no_heavy_library() -> None:
    """The API asks when a job is made, and its process trains nothing."""
    asking = "from assay.families import discover\nfor f in discover().values(): getattr(f, 'missing', lambda: '')()"
    assert heavy_modules_after(asking) == set()


def test_the_packages_of_the_service_can_be_imported_without_a_service() -> None:
    assert "torch" not in heavy_modules_after("import app.main, workers.celery_app")


def test_families_do_not_import_each_other(graph: grimp.ImportGraph) -> None:
    """What two families share lies in a module whose name begins with an underscore."""
    families = set(FAMILY_MODULES)
    assert families
    for family in FAMILY_MODULES:
        others = graph.find_downstream_modules(family) & families
        assert not others, (
            f"{sorted(others)} import the family {family}; share code through search_spaces/<kind>/_<what>.py"
        )


def test_strategies_do_not_know_families_or_the_service(graph: grimp.ImportGraph) -> None:
    assert STRATEGY_MODULES
    for strategy in STRATEGY_MODULES:
        foreign = {
            name
            for name in graph.find_upstream_modules(strategy)
            if name.split(".")[0] != "assay" or name == "assay.families"
        }
        assert not foreign, f"{strategy} reaches {sorted(foreign)}; it may know spaces and histories only"


def test_workers_never_reach_for_an_endpoint(graph: grimp.ImportGraph) -> None:
    for worker in sorted(graph.find_descendants("workers")):
        direct = graph.find_modules_directly_imported_by(worker)
        shells = {
            name
            for name in direct
            if name.endswith(".endpoints") or name in {"app.main", "app.api", "app.deps", "app.cli"}
        }
        assert not shells, f"{worker} imports {sorted(shells)}; workers use app's config, db, store, storage and queue"


@pytest.mark.parametrize("module", [*FAMILY_MODULES, *STRATEGY_MODULES])
def test_a_plug_in_module_ends_with_its_plug_in(module: str) -> None:
    """`family = ...` or `strategy = ...` is what discovery looks for; a module without it would be dead code."""
    kind = "family" if module.startswith("search_spaces.") else "strategy"
    assert getattr(importlib.import_module(module), kind, None) is not None, f"{module} does not define `{kind}`"
