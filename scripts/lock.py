"""Writes constraints.txt: the versions, installed in this environment, of all that the project asks for (`make lock`).

Only the project's own tree is locked; a package that somebody tried out in .venv does not slip in.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = "assay-automl"
HEADER = """\
# The tested set: every version that the tests ran with, on Python {python}.  Made by `make lock`; do not edit by hand.
# Used as `pip install -e ".[test]" -c constraints.txt`.  Local labels are left out (`torch==X`, not `X+cpu`), so
# that the same file installs the CPU build where the package index offers it and the CUDA build elsewhere.
"""


def main() -> None:
    lines = sorted({f"{name}=={version}" for name, version in tree(f"{PROJECT}[test]")}, key=str.lower)
    header = HEADER.format(python=f"{sys.version_info.major}.{sys.version_info.minor}")
    Path("constraints.txt").write_text(header + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"constraints.txt: {len(lines)} packages")


def tree(wanted: str) -> Iterator[tuple[str, str]]:
    """Name and version of every installed package below the wanted one, itself left out."""
    todo, seen = [Requirement(wanted)], set[tuple[str, str]]()
    while todo:
        requirement = todo.pop()
        for extra in ("", *sorted(requirement.extras)):
            key = (_normal(requirement.name), extra)
            if key in seen:
                continue
            seen.add(key)
            try:
                found = distribution(requirement.name)
            except PackageNotFoundError:
                raise SystemExit(f"{requirement.name} is not installed; run `make setup` first") from None
            needs = [Requirement(need) for need in found.requires or ()]
            todo += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
            if key[0] != PROJECT:
                yield found.metadata["Name"], found.version.partition("+")[0]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
