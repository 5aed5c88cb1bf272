"""Assay on pictures against HOG with an SVM and a plain ResNet-18, on the same split and in the same time.

`python -m benchmarks.image_classification --seconds 60 animals.zip` (archives with one folder for each class; without one it
uses scikit-learn's digits).  HOG: nine unsigned directions, 8 x 8 cells at 64 pixels, 2 x 2 blocks (Dalal, Triggs 2005), SVC with
C = 10.  ResNet-18: He et al. 2016 with a 3 x 3 stem at 32 pixels, SGD with momentum 0.9, mirrored pictures off, one cycle over the
time it is given.  Writes one dated file under benchmarks/results/.
"""

from __future__ import annotations

import argparse
import datetime
import io
import json
import platform
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", type=Path, help="archives in folder layout")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        paths = given.data or [digits(Path(made) / "digits.zip")]
        found = [one(path, given.seconds, given.threads) for path in paths]
    report = {
        "what": "image_classification against HOG + SVM and ResNet-18 from scratch",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {"processor": platform.processor() or platform.machine(), "python": platform.python_version()},
        "seconds": given.seconds,
        "threads": given.threads,
        "results": found,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"image_classification-{datetime.date.today().isoformat()}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")


def digits(path: Path) -> Path:
    from PIL import Image
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    with zipfile.ZipFile(path, "w") as archive:
        for i, (x, y) in enumerate(zip(pixels, labels, strict=True)):
            out = io.BytesIO()
            Image.fromarray((x.reshape(8, 8) * 15.9).astype(np.uint8)).save(out, "PNG")
            archive.writestr(f"{'test' if i % 5 == 0 else 'train'}/{y}/{i}.png", out.getvalue())
    return path


def one(path: Path, seconds: float, threads: int) -> dict[str, Any]:
    import torch

    import assay
    from assay.data.front_image import ImageFront
    from assay.data.readers import read

    torch.set_num_threads(threads)
    loaded = read(path)
    table = loaded.table
    words = table.words("label")
    if "split" in table.names:
        is_test = table.words("split").values() == "test"
    else:
        is_test = np.random.default_rng(0).random(len(table)) < 0.2
    train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    y = words.codes.astype(np.int64)
    result: dict[str, Any] = {"data": path.stem, "train": len(train), "test": len(test), "classes": len(words.levels)}
    began = time.monotonic()
    kept = [n for n in table.names if n != "split"]
    model = assay.fit(table.take(train).select(kept), task="image_classification", seconds=seconds, threads=threads)
    took = time.monotonic() - began
    answers = np.array(model.predict(table.take(test).select(["image"])))
    accuracy = float(np.mean(answers == words.values()[test]))
    result["assay"] = {"accuracy": accuracy, "seconds": took, "members": [m.family for m in model.manifest.members]}
    began = time.monotonic()
    grey = ImageFront(64).encode(table.blobs("image")).astype(np.float32).mean(3)
    from sklearn.svm import SVC

    features = hog(grey)
    svm = SVC(C=10).fit(features[train], y[train])
    result["hog_svm"] = {"accuracy": float(svm.score(features[test], y[test])), "seconds": time.monotonic() - began}
    pixels = ImageFront(32).encode(table.blobs("image"))
    result["resnet18"] = resnet18(pixels, y, train, test, len(words.levels), seconds)
    errors = {k: max(1e-9, 1 - result[k]["accuracy"]) for k in ("assay", "hog_svm", "resnet18")}
    result["error_ratio"] = {k: errors["assay"] / errors[k] for k in ("hog_svm", "resnet18")}
    print(json.dumps(result))
    return result


def hog(x: np.ndarray, cell: int = 8, bins: int = 9) -> np.ndarray:
    """x: float32 (n, 64, 64) -> (n, d)."""
    gy, gx = np.gradient(x, axis=(1, 2))
    size, angle = np.hypot(gx, gy), np.mod(np.arctan2(gy, gx), np.pi) * (bins / np.pi)
    low = np.floor(angle)
    share = angle - low
    n, k = len(x), x.shape[1] // cell
    votes = np.zeros((n, k, k, bins), np.float32)
    for b in range(bins):
        weight = size * ((low % bins == b) * (1 - share) + ((low + 1) % bins == b) * share)
        votes[..., b] = weight.reshape(n, k, cell, k, cell).sum((2, 4))
    blocks = np.concatenate([votes[:, :-1, :-1], votes[:, 1:, :-1], votes[:, :-1, 1:], votes[:, 1:, 1:]], -1)
    blocks /= np.sqrt((blocks**2).sum(-1, keepdims=True) + 1.0)
    blocks = np.minimum(blocks, 0.2)
    blocks /= np.sqrt((blocks**2).sum(-1, keepdims=True) + 1e-6)
    return np.asarray(blocks.reshape(n, -1))


def resnet18(
    pixels: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, classes: int, seconds: float
) -> dict[str, Any]:
    import torch
    from torch import nn

    def conv(i: int, o: int, k: int, stride: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(i, o, k, stride, k // 2, bias=False), nn.BatchNorm2d(o))

    class Block(nn.Module):
        def __init__(self, i: int, o: int, stride: int) -> None:
            super().__init__()
            self.a, self.b = conv(i, o, 3, stride), conv(o, o, 3, 1)
            self.cut = nn.Identity() if i == o and stride == 1 else conv(i, o, 1, stride)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.b(torch.relu(self.a(x))) + self.cut(x))

    torch.manual_seed(0)
    widths = (64, 64, 128, 256, 512)
    blocks = [
        Block(widths[s] if j == 0 else widths[s + 1], widths[s + 1], 2 if s and j == 0 else 1)
        for s in range(4) for j in range(2)
    ]  # fmt: skip
    net = nn.Sequential(
        conv(3, 64, 3, 1), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes)
    )
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5
    target = torch.from_numpy(y)
    optimizer = torch.optim.SGD(net.parameters(), 0.05, 0.9, weight_decay=5e-4)
    rng = np.random.default_rng(0)
    began = time.monotonic()
    steps = 0
    while (spent := time.monotonic() - began) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * min(1.0, 10 * (spent / seconds + 0.01)) * (1 - spent / seconds)
        rows = rng.choice(train, min(64, len(train)), replace=False)
        loss = nn.functional.cross_entropy(net(x[rows]), target[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    net.eval()
    with torch.inference_mode():
        answers = np.concatenate([net(x[test[i : i + 64]]).argmax(1).numpy() for i in range(0, len(test), 64)])
    epochs = steps * min(64, len(train)) / len(train)
    return {"accuracy": float(np.mean(answers == y[test])), "seconds": seconds, "epochs": round(epochs, 2)}


if __name__ == "__main__":
    main()
