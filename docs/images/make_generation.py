"""Draws docs/images/generation-rows.png and generation-digits.png from real runs: `python docs/images/make_generation.py`.

Rows: real and drawn rows of a small shop, side by side.  Digits: real ones, and what each family draws after a job of a minute
with its defaults alone.  `rows` or `digits` after the command draws that one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import assay
from assay.data.table import ColumnType, Table, Words

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.generation import picture_table

HERE = Path(__file__).parent
PLANS = {"free": "#4c78a8", "basic": "#f58518", "team": "#54a24b"}
FAMILIES = ("gaussian_mixture_images", "mixture_pixel_cnn", "pixel_cnn", "image_vae", "dcgan", "wgan_gp")


def shop(n: int = 1500) -> Table:
    """Age and spend hang together differently in every plan; a fifth spends nothing."""
    rng = np.random.default_rng(0)
    plan = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    age = np.round(rng.normal(np.array([24, 41, 55])[plan], np.array([4, 7, 5])[plan])).clip(16, 90)
    spend = np.exp(rng.normal(1.2 + 0.9 * plan, 0.35)) + np.array([0.3, 0.0, -0.4])[plan] * (age - 40)
    spend = np.where(rng.random(n) < 0.2, 0.0, np.round(np.maximum(spend, 0.5), 2))
    columns = {"age": age, "spend": spend, "plan": Words.of([list(PLANS)[p] for p in plan])}
    return Table(columns, {"age": ColumnType.INTEGER, "spend": ColumnType.NUMBER, "plan": ColumnType.CATEGORY})


def rows() -> None:
    table = shop()
    model = assay.fit(table, "plan", task="generation", seconds=600, trials=3)
    samples = model.generate(len(table), seed=0).columns
    only = model.generate(400, seed=1, condition={"plan": "team"}).columns
    real = {"age": table.numbers("age"), "spend": table.numbers("spend"), "plan": table.words("plan").values()}
    figure, axes = plt.subplots(1, 3, figsize=(9, 3), sharex=True, sharey=True, layout="constrained")
    for axis, title, part in zip(
        axes, ("real", "drawn", 'drawn, {"plan": "team"}'), (real, samples, only), strict=True
    ):
        for plan, colour in PLANS.items():
            mine = part["plan"] == plan
            axis.scatter(part["age"][mine], part["spend"][mine], s=4, c=colour, label=plan, linewidths=0)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("age")
    axes[0].set_ylabel("spend")
    axes[0].legend(fontsize=7, markerscale=3, frameon=False)
    figure.savefig(HERE / "generation-rows.png", dpi=110)


def digits() -> None:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    strips = {"real": np.round(x[:20].reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)}
    for family in FAMILIES:
        model = assay.fit(picture_table(x, y), task="generation", trials=1, seconds=60, families=[family])
        drawn = model.generate(20, seed=0).images
        assert drawn is not None
        value = model.metrics["two_sample"]
        strips[f"{family}  ({value:.2f})"] = drawn[..., 0]
    figure, axes = plt.subplots(len(strips), 1, figsize=(9, 0.75 * len(strips)), layout="constrained")
    for axis, (name, pictures) in zip(axes, strips.items(), strict=True):
        axis.imshow(np.concatenate(list(np.pad(pictures, ((0, 0), (1, 1), (1, 1)))), axis=1), cmap="gray_r")
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        axis.set(xticks=[], yticks=[])
    figure.savefig(HERE / "generation-digits.png", dpi=110)


if __name__ == "__main__":
    for draw in [f for f in (rows, digits) if f.__name__ in sys.argv[1:]] or (rows, digits):
        draw()
