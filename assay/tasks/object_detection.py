"""Object detection: where things are in a picture, and what they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.tasks import _pictures as pictures

if TYPE_CHECKING:
    from assay.data.table import Table
    from assay.model.manifest import Manifest
    from assay.spec import JobSpec, ProfileFacts, Resolved
    from assay.tasks import TaskType
    from assay.tasks._problem import Problem

KIND = "detection"


class ObjectDetection(pictures.Annotated):
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

    def answers(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> list[dict[str, Any]]:
        from assay.vision.answers import boxes_answers

        return boxes_answers(outputs, manifest.classes, int(manifest.info["side"]))

    def csv(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> Iterator[list[str]]:
        yield ["prediction"]
        for answer in self.answers(outputs, manifest):
            yield [json.dumps(answer["value"], ensure_ascii=False)]


task: TaskType = ObjectDetection()
