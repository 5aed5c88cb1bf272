"""Pretrained nets for pictures on this machine, as graphs from pixels to features.  Nothing is downloaded here.

A folder as `save_pretrained` of the transformers library writes it (`config.json`, `model.safetensors`), named by the
environment variable ASSAY_WEIGHTS_DIR or directly below the folder it names.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from assay.errors import FamilyUnavailable
from assay.model.graph import OPSET, Graph, Node

VARIABLE = "ASSAY_WEIGHTS_DIR"
KINDS = ("resnet", "convnext", "convnextv2", "vit", "deit", "dinov2", "regnet", "mobilenet_v2", "efficientnet")
WAY_OUT = (
    f"set {VARIABLE} to a folder with config.json and model.safetensors of a {', '.join(KINDS[:-1])} or {KINDS[-1]} model, "
    "as `save_pretrained` of the transformers library writes them, and install transformers"
)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, where the folder does not say


@dataclass(frozen=True)
class Backbone:
    """A folder of weights."""

    folder: Path

    def graph(self, size: int) -> Graph:
        """From the value `pixels`, float (N, 3, s, s) of any s and 0 to 255, brought to `size`, to features (N, d)."""
        return _graph(self.folder, size)


def missing() -> str:
    """Why no pretrained net can be used, with the way out; "" when one can."""
    named = os.environ.get(VARIABLE)
    if not named:
        return f"there are no weights: {WAY_OUT}"
    if _folder(Path(named)) is None:
        return f"{named!r} holds no such files: {WAY_OUT}"
    return "" if importlib.util.find_spec("transformers") else f"the library transformers is not installed: {WAY_OUT}"


def find() -> Backbone:
    """Raises FamilyUnavailable with the way out."""
    why = missing()
    if why:
        raise FamilyUnavailable(why)
    folder = _folder(Path(os.environ[VARIABLE]))
    assert folder is not None
    return Backbone(folder)


def _folder(root: Path) -> Path | None:
    folders = [root, *sorted(p for p in root.iterdir() if p.is_dir())] if root.is_dir() else []
    return next((f for f in folders if _kind(f) in KINDS), None)


def _kind(folder: Path) -> str:
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        return ""
    try:
        return str(json.loads((folder / "config.json").read_text("utf-8")).get("model_type"))
    except ValueError:
        return ""


@cache
def _graph(folder: Path, size: int) -> Graph:
    import onnx
    import torch
    from onnx import numpy_helper
    from torch import nn
    from transformers import AutoModel

    told = folder / "preprocessor_config.json"
    config = json.loads(told.read_text("utf-8")) if told.is_file() else {}
    model: Any = AutoModel.from_pretrained(str(folder), local_files_only=True).eval()

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.mean = nn.Parameter(255 * torch.tensor(config.get("image_mean") or MEAN).view(1, 3, 1, 1), False)
            self.deviation = nn.Parameter(
                255 * torch.tensor(config.get("image_std") or DEVIATION).view(1, 3, 1, 1), False
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = nn.functional.interpolate(x, (size, size), mode="bilinear", align_corners=False)
            out = self.model((x - self.mean) / self.deviation)
            found = getattr(out, "pooler_output", None)
            pooled: torch.Tensor = out.last_hidden_state[:, 0] if found is None else found
            return pooled.flatten(1)

    data: Any = io.BytesIO()
    torch.onnx.export(
        Pooled().eval(), (torch.zeros(2, 3, 32, 32),), data, input_names=["pixels"], output_names=["features"],
        dynamic_axes={"pixels": {0: "n", 2: "h", 3: "w"}, "features": {0: "n"}}, opset_version=OPSET, dynamo=False,
    )  # fmt: skip
    exported = onnx.load_model_from_string(data.getvalue())
    tensors = {t.name: numpy_helper.to_array(t) for t in exported.graph.initializer}
    nodes = []
    for node in exported.graph.node:
        attrs = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant":
            tensors[node.output[0]] = numpy_helper.to_array(attrs["value"])
            continue
        plain = {
            k: v.decode() if isinstance(v, bytes) else list(v) if isinstance(v, tuple) else v for k, v in attrs.items()
        }
        nodes.append(Node(node.op_type, tuple(node.input), tuple(node.output), plain, node.domain))
    return Graph(tuple(nodes), tensors, "features")


def run(graph: Graph, x: np.ndarray, threads: int = 1, batch: int = 16) -> np.ndarray:
    """Features, float32 (n, d), of pixels uint8 (n, s, s, 3), by onnxruntime: several times quicker than torch."""
    import onnxruntime

    from assay.model.graph import Port, encode

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    model = encode(graph, [Port("pixels", "float32", ["N", 3, "h", "w"])], [Port(graph.output, "float32", ["N", None])])
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    parts = []
    for i in range(0, max(1, len(x)), batch):
        part = np.ascontiguousarray(x[i : i + batch].transpose(0, 3, 1, 2), dtype=np.float32)
        parts.append(session.run(None, {"pixels": part})[0])
    return np.concatenate(parts)
