"""The families that ship with Assay: one file, one family, found without any list to edit."""

from __future__ import annotations

import importlib
import logging
import pkgutil

from assay.families import Family

log = logging.getLogger(__name__)


def families() -> list[Family]:
    """Every module below this package that has a `family`.  A module that fails to import is logged and skipped."""
    found: list[Family] = []
    for module in pkgutil.walk_packages(__path__, prefix=f"{__name__}."):
        if module.ispkg or module.name.rsplit(".", 1)[-1].startswith("_"):
            continue
        try:
            family = getattr(importlib.import_module(module.name), "family", None)
        except ImportError:
            log.exception("family module %s could not be imported", module.name)
            continue
        if family is not None:
            found.append(family)
    return found
