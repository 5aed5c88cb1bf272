"""The family of docs/how-to/add-a-family.md, as it stands there, keeps the contract that every family keeps."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from assay.families import Family
from assay.testing.families import FamilySuite

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-a-family.md"


@pytest.fixture(scope="module")
def module() -> Any:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    made = types.ModuleType("nearest_centroid_of_the_page")
    sys.modules[made.__name__] = made  # where dataclasses look up their annotations
    exec(compile(code, str(PAGE), "exec"), made.__dict__)
    return made


class TestTheFamilyOfThePage(FamilySuite):
    @pytest.fixture
    def family(self, module: Any) -> Family:
        found: Family = module.family
        return found
