"""What all tasks with a target share: trials on folds, a weighted mean of members, one answer a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from assay.data.table import Table
    from assay.model.deliver import Built, Source
    from assay.model.manifest import Manifest
    from assay.spec import Resolved
    from assay.tasks._problem import Problem
    from assay.training.evaluate import Evaluation, Matrices, Request


class Supervised:
    """Base of task types whose `prepare` gives rows, targets and folds.  Heavy modules are imported when used."""

    def evaluate(self, matrices: Matrices, request: Request) -> Evaluation:
        from assay.training.evaluate import evaluate

        return evaluate(matrices, request)

    def deliver(
        self,
        problem: Problem,
        sources: Sequence[Source],
        folder: Path,
        *,
        ensemble: bool,
        info: Mapping[str, Any],
        formats: Mapping[str, Mapping[str, Any]],
        seconds: float,
    ) -> Built:
        from assay.model.deliver import deliver

        return deliver(problem, sources, folder, ensemble=ensemble, info=info, formats=formats, seconds=seconds)

    def warnings(self, table: Table, resolved: Resolved) -> list[dict[str, Any]]:
        from assay.data.profile import about_target

        shown = table.select([resolved.target, *resolved.features])
        return [w.to_json() for w in about_target(shown, resolved.target, resolved.kind)]

    def answers(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> list[dict[str, Any]]:
        if not manifest.classes:
            values = outputs["value"][:, 0].tolist()
            width = (manifest.info.get("interval") or {}).get("half_width")
            if width is None:
                return [{"value": v} for v in values]
            spans = ((v, v - width, v + width) for v in values)
            return [{"value": v, "interval": [low, high], "low": low, "high": high} for v, low, high in spans]
        chosen = decided(outputs["probabilities"], manifest)
        found = []
        for row, code in zip(outputs["probabilities"].tolist(), chosen.tolist(), strict=True):
            shares = dict(zip(manifest.classes, row, strict=True))
            found.append({"value": manifest.classes[code], "probabilities": shares})
        return found

    def csv(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> Iterator[list[str]]:
        if not manifest.classes:
            yield ["prediction"]
            yield from ([repr(float(v))] for v in outputs["value"][:, 0])
            return
        yield ["prediction", *(f"probability_{c}" for c in manifest.classes)]
        chosen = decided(outputs["probabilities"], manifest)
        for row, code in zip(outputs["probabilities"].tolist(), chosen.tolist(), strict=True):
            yield [manifest.classes[code], *(repr(p) for p in row)]


def decided(probabilities: np.ndarray, manifest: Manifest) -> np.ndarray:
    """The class codes answered, by the manifest's threshold where there is one."""
    from assay.model.compose import decide

    return decide(probabilities, manifest.threshold)
