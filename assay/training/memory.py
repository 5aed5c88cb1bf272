"""What a net needs: memory of one member and of a population, and the time of one fit."""

from __future__ import annotations

from assay.families import Cost, Shape
from assay.nn.net import Net
from assay.training.feed import batch_size

PROCESS_BYTES = 300_000_000  # Python with torch loaded
_BUFFERS = 9  # parameters, gradients, two moments, best snapshot, three kept copies, one scratch: all of them float32


def member_bytes(n_params: int, batch: int, activations_per_row: int) -> int:
    """Bytes of one member: its rows of every buffer, and what one batch keeps for the backward pass.

    Without the fixed cost of the process and without the data.
    """
    return 4 * (_BUFFERS * n_params + batch * activations_per_row)


def table_bytes(n_rows: int, n_features: int) -> int:
    """Bytes of one fold's rows: its design matrix as it comes and stacked, targets, weights, one epoch's order."""
    return 4 * n_rows * (2 * n_features + 12)


def largest_population(free_bytes: int, one_member: int, data_bytes: int = 0) -> int:
    """How many members fit into free memory, at least 1, with a tenth left free."""
    return max(1, int((0.9 * free_bytes - data_bytes) // max(1, one_member)))


def net_cost(net: Net, shape: Shape, batch: int, epochs: int, answers: int = 1) -> Cost:
    """One fold on one core, for all its epochs.  answers: rows of the net per row of the table (TabM).

    Measured with three to five folds at once: 0.1 ms a step and member, 45 GFLOP/s, 10 passes over the buffers.
    """
    n_params = net.layout.size
    batch = batch_size(batch, shape.n_rows)
    steps = epochs * (shape.n_rows / batch + 0.5)
    seconds = steps * (1e-4 + 6.0 * answers * batch * n_params / 4.5e10 + n_params * 5e-9)
    host = member_bytes(n_params, batch, net.activations_per_row) + table_bytes(shape.n_rows, shape.n_features)
    return Cost(seconds, host + PROCESS_BYTES, host)
