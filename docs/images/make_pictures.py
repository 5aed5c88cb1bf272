"""Draws docs/images/detection.png and segmentation.png from real runs: `python docs/images/make_pictures.py [seconds]`.

Generated pictures of shapes on noise: a detector and a segmenter are trained on 60 of them, and answer for six others.
"""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import assay
from assay.testing.shapes import shapes, shapes_table

HERE = Path(__file__).parent
SHOWN, SURE = 6, 0.3
COLOURS = ("#e45756", "#4c78a8", "#54a24b", "#f58518")


def fitted(columns: list[str], task: str, seconds: float) -> Any:
    return assay.fit(shapes_table(60).select(columns), task=task, seconds=seconds)


def detection(seconds: float) -> None:
    model = fitted(["image", "boxes"], "object_detection", seconds)
    files, _, _ = shapes(SHOWN, seed=7)
    answers = model.predict(list(files))
    classes = sorted({box["label"] for value in answers for box in value})
    figure, axes = plt.subplots(1, SHOWN, figsize=(2.2 * SHOWN, 2.4))
    for axis, data, value in zip(axes, files, answers, strict=True):
        axis.imshow(Image.open(io.BytesIO(data)))
        for box in (b for b in value if b["score"] >= SURE):
            x, y, w, h = box["box"]
            colour = COLOURS[classes.index(box["label"]) % len(COLOURS)]
            axis.add_patch(plt.Rectangle((x, y), w, h, fill=False, color=colour, linewidth=1.6))
            axis.text(x, y - 1, f"{box['label']} {box['score']:.2f}", color=colour, fontsize=7)
        axis.axis("off")
    save(figure, "detection.png")


def segmentation(seconds: float) -> None:
    model = fitted(["image", "mask", "mask_classes"], "segmentation", seconds)
    files, _, masks = shapes(SHOWN, seed=7)
    figure, axes = plt.subplots(3, SHOWN, figsize=(2.2 * SHOWN, 6.4))
    for i, (data, truth, value) in enumerate(zip(files, masks, model.predict(list(files)), strict=True)):
        found = np.asarray(Image.open(io.BytesIO(base64.b64decode(value["png"]))))
        told = np.asarray(Image.open(io.BytesIO(truth)))
        axes[0, i].imshow(Image.open(io.BytesIO(data)))
        for row, mask in ((1, told), (2, found)):
            axes[row, i].imshow(mask, vmin=0, vmax=max(3, int(told.max())), cmap="tab10", interpolation="nearest")
        for row, name in enumerate(("picture", "truth", "answer")):
            axes[row, i].axis("off")
            if not i:
                axes[row, i].set_title(name, loc="left", fontsize=9)
    save(figure, "segmentation.png")


def save(figure: Any, name: str) -> None:
    figure.tight_layout()
    figure.savefig(HERE / name, dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    budget = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    detection(budget)
    segmentation(budget)
