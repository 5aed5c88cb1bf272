"""Ask this model about pictures: python predict.py one.jpg two.png ... > answers.json

With side information: python predict.py rows.json > answers.json, a list such as [{"image": "one.jpg", "age": 41}].
Needs Python 3.11 and requirements.txt.  Reads model.onnx and manifest.json beside it and answers a JSON list, one object a
picture, as the service does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from assay.data.rows import InputField, feeds, table_from_rows
from assay.errors import DataError
from assay.vision.answers import mask_answers, picture_size


class Predictor:
    """The model in a folder."""

    def __init__(self, folder: Path | str) -> None:
        self.manifest: dict[str, Any] = json.loads((Path(folder) / "manifest.json").read_text("utf-8"))
        self.schema = [InputField.from_json(f) for f in self.manifest["input_schema"]]
        self.column = next(f.name for f in self.schema if f.front is not None and f.front.kind == "image")
        self.session = onnxruntime.InferenceSession(
            str(Path(folder) / "model.onnx"), providers=["CPUExecutionProvider"]
        )

    def answers(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """One answer for each row; its picture is the bytes of a file."""
        names = self.manifest["outputs"]
        found: list[dict[str, Any]] = []
        for row in rows:
            table = table_from_rows([row], self.schema)[0]
            ran = self.session.run(list(names.values()), feeds(table, self.schema))
            outputs = dict(zip(names, ran, strict=True))
            told: dict[str, Any] = {"value": {}, "probabilities": {}}
            for target in self.manifest["info"]["targets"]:
                name, first = target["name"], outputs[target["outputs"][0]]
                if "side" in target:
                    seen = {"mask": first, "size": np.array([picture_size(row[self.column])])}
                    told["value"][name] = mask_answers(seen, target["classes"], int(target["side"]))[0]["value"]
                elif target["classes"]:
                    told["value"][name] = str(first[0])
                    shares = outputs[target["outputs"][1]][0].tolist()
                    told["probabilities"][name] = dict(zip(target["classes"], shares, strict=True))
                else:
                    told["value"][name] = float(first[0, 0])
            found.append(told)
        return found


def main(arguments: Sequence[str]) -> int:
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    model = Predictor(Path(__file__).resolve().parent)
    try:
        if len(arguments) == 1 and arguments[0].endswith(".json"):
            rows = json.loads(Path(arguments[0]).read_text("utf-8"))
            rows = [{**r, model.column: Path(r[model.column]).read_bytes()} for r in rows]
        else:
            rows = [{model.column: Path(a).read_bytes()} for a in arguments]
        json.dump(model.answers(rows), sys.stdout, ensure_ascii=False)
    except (DataError, OSError, KeyError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
