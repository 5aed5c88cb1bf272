"""Every installed family of generators keeps the generators' contract; a new file is found and checked."""

from __future__ import annotations

from typing import Any, cast

import pytest

from assay.families import discover, for_task
from assay.generation.parts import GeneratorFamily
from assay.testing.generators import GeneratorSuite


@pytest.mark.parametrize("name", sorted(for_task("generation")))
class TestGenerators(GeneratorSuite):
    @pytest.fixture
    def family(self, name: str) -> GeneratorFamily:
        return cast(GeneratorFamily, discover()[name])


def test_the_generators_that_ship_are_discovered() -> None:
    data: dict[str, set[str]] = {}
    for name, family in for_task("generation").items():
        data.setdefault(cast(Any, family).data, set()).add(name)
    assert data["rows"] >= {"gaussian_copula", "gaussian_mixture_rows", "table_gan", "table_vae"}
    assert data["rows"] >= {"sequential_boosting", "sequential_trees"}
    assert data["images"] >= {"dcgan", "gaussian_mixture_images", "image_vae", "pixel_cnn", "wgan_gp"}
    assert "mixture_pixel_cnn" in data["images"]
