"""Which trials make the ensemble: defaults of families unless a searched configuration leads clearly."""

from __future__ import annotations

import numpy as np

from assay.forecasting.deliver import champions


def test_a_family_is_stood_for_by_its_default_unless_another_configuration_leads_clearly() -> None:
    families, numbers = ["ets", "ets", "theta", "theta"], [7, 2, 3, 9]
    scores = np.array([-0.95, -1.0, -1.0, -0.7])
    assert champions(families, numbers, scores, 0.1) == {"ets": 1, "theta": 3}
    assert champions(families, numbers, scores, 0.0) == {"ets": 0, "theta": 3}
