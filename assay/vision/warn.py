"""What the owner of annotated pictures should know."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from assay.data.table import Table

FEW = 20  # boxes of a class, below which little is learned of it


def rare_labels(table: Table) -> list[dict[str, Any]]:
    """Classes with few boxes."""
    counts: Counter[str] = Counter()
    for text in table.words("boxes").values():
        if text:
            counts.update(str(t.get("label")) for t in json.loads(text))
    rare = [(label, n) for label, n in counts.most_common() if n < FEW]
    if not rare:
        return []
    shown = ", ".join(f"{label!r} ({n})" for label, n in rare[-5:])
    message = f"{len(rare)} of {len(counts)} classes have fewer than {FEW} boxes: {shown}; they will hardly be found"
    return [{"code": "rare_class", "column": "boxes", "message": message}]
