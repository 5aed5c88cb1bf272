"""Object detection: where things are in a picture, and what they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.tasks import _pictures as pictures

if TYPE_CHECKING:
    from assay.data.table import Table
    from assay.model.deliver import Built, Source
    from assay.model.manifest import Manifest
    from assay.spec import JobSpec, ProfileFacts, Resolved
    from assay.tasks import TaskType
    from assay.tasks._problem import Problem
    from assay.training.evaluate import Evaluation, Matrices, Request

KIND = "detection"


class ObjectDetection:
    """Pictures with boxes (`boxes`: a JSON list of {"label", "box": [x, y, width, height]} in pixels)."""

    name = "object_detection"
    about = "find things in pictures: boxes with labels and scores"
    kinds: tuple[str, ...] = (KIND,)
    formats: tuple[str, ...] = ("coco",)  # that answers can be had in, besides JSON and csv

    def default_metric(self, kind: str) -> str:
        return "map50"

    def resolve(self, spec: JobSpec, profile: ProfileFacts) -> Resolved:
        return pictures.resolve(spec, profile, KIND, self.default_metric(KIND), (pictures.BOXES,))

    def prepare(self, table: Table, resolved: Resolved) -> Problem:
        from assay.vision.truth import picture_size, read_things, things_of

        cells = table.words(pictures.BOXES)
        missing = table.blobs(pictures.IMAGE).missing
        keep = np.flatnonzero((cells.codes >= 0) & ~missing)
        texts = cells.values()
        read = [read_things(texts[i], int(i)) for i in keep]
        classes = pictures.sorted_classes({str(t["label"]) for r in read for t in r}, resolved)
        files = table.blobs(pictures.IMAGE)
        things = [things_of(r, classes, picture_size(files[int(i)])) for r, i in zip(read, keep, strict=True)]
        boxes = np.concatenate([t.boxes for t in things])
        resolved = pictures.sized(resolved, (boxes[:, 2:] - boxes[:, :2]).max(1))
        return pictures.problem_of(table, resolved, keep, pictures.objects(things), classes, [])

    def warnings(self, table: Table, resolved: Resolved) -> list[dict[str, Any]]:
        from assay.vision.warn import rare_labels

        return rare_labels(table)

    def evaluate(self, matrices: Matrices, request: Request) -> Evaluation:
        from assay.vision.evaluate import evaluate

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
        from assay.vision.deliver import deliver

        return deliver(problem, sources, folder, info, seconds, ensemble)

    def beside(self, table: Table, manifest: Manifest) -> dict[str, np.ndarray]:
        """What answers need of the rows besides the graph's outputs: `size`, (n, 2) width and height in pixels."""
        from assay.vision.truth import sizes_of

        return sizes_of(table)

    def answers(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> list[dict[str, Any]]:
        from assay.vision.answers import boxes_answers

        return boxes_answers(outputs, manifest.classes, int(manifest.info["side"]))

    def csv(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> Iterator[list[str]]:
        yield ["prediction"]
        for answer in self.answers(outputs, manifest):
            yield [json.dumps(answer["value"], ensure_ascii=False)]

    def render(self, format: str, predictions: Sequence[Mapping[str, Any]], manifest: Manifest) -> tuple[bytes, str]:
        """(file, media type) of the answers of one request, in one of `formats`."""
        from assay.vision.exchange import MEDIA, render

        return render(format, predictions, manifest.classes), MEDIA[format]


task: TaskType = ObjectDetection()
