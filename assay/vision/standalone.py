"""Find things in pictures with this model: python predict.py one.jpg two.png ... > answers.json

Needs Python 3.11 and requirements.txt.  Reads model.onnx and manifest.json beside it and answers a JSON list, one object a
picture, as the service does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from assay.data.front_image import read
from assay.vision.answers import boxes_answers, mask_answers, picture_size


class Predictor:
    """The model in a folder."""

    def __init__(self, folder: Path | str) -> None:
        self.manifest: dict[str, Any] = json.loads((Path(folder) / "manifest.json").read_text("utf-8"))
        self.front = read(self.manifest["input_schema"][0]["front"])
        self.session = onnxruntime.InferenceSession(
            str(Path(folder) / "model.onnx"), providers=["CPUExecutionProvider"]
        )

    def answers(self, files: Sequence[bytes]) -> list[dict[str, Any]]:
        """One answer for each picture file."""
        side, names = self.front.size, self.manifest["outputs"]
        found: list[dict[str, Any]] = []
        for data in files:
            pixels = self.front.pixels(data)
            x = np.zeros((1, side, side, 3), np.uint8) if pixels is None else pixels[None]
            outputs = dict(zip(names, self.session.run(list(names.values()), {"image": x}), strict=True))
            outputs["size"] = np.array([picture_size(data)])
            told = boxes_answers if "boxes" in outputs else mask_answers
            found += told(outputs, self.manifest["classes"], side)
        return found


def main(arguments: Sequence[str]) -> int:
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        files = [Path(a).read_bytes() for a in arguments]
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    json.dump(Predictor(Path(__file__).resolve().parent).answers(files), sys.stdout, ensure_ascii=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
