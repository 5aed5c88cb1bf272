"""Memory estimates follow the numbers they are made of."""

from __future__ import annotations

from assay.families import Shape
from assay.nn.dense import Dense
from assay.training.memory import PROCESS_BYTES, largest_population, member_bytes, net_cost


def test_the_largest_population_fills_nine_tenths_of_free_memory() -> None:
    one = member_bytes(n_params=100_000, batch=256, activations_per_row=1_000)
    assert one > 4 * 100_000 * 4 + 4 * 256 * 1_000  # parameters, gradients, two moments, activations
    assert largest_population(100 * one, one) == 90
    assert largest_population(100 * one, one, data_bytes=50 * one) == 40
    assert largest_population(one // 2, one) == 1


def test_a_wider_net_and_more_rows_cost_more() -> None:
    narrow, wide = (net_cost(Dense(20, 3, w, 2, "relu"), Shape(1_000, 20, 3), 128, 50) for w in (64, 256))
    assert narrow.seconds < wide.seconds
    assert PROCESS_BYTES < narrow.host_bytes < wide.host_bytes
    assert net_cost(Dense(20, 3, 64, 2, "relu"), Shape(9_000, 20, 3), 128, 50).seconds > 5 * narrow.seconds
