"""What detection and segmentation share: which columns, how large the square, which pictures judge."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.data.front_image import ImageFront
from assay.data.images.shared import decoded
from assay.data.split import Folds, make_folds
from assay.data.table import Blobs, ColumnType, Table
from assay.errors import DataError, SpecError
from assay.families import Target
from assay.metrics import METRICS, for_kind
from assay.spec import MIN_ROWS, REFITTED, JobSpec, ProfileFacts, Resolved, pick_families, pick_strategy
from assay.tasks._available import available
from assay.tasks._problem import Problem
from assay.vision.worth import WORTH

if TYPE_CHECKING:
    from assay.model.deliver import Built, Source
    from assay.model.manifest import Manifest
    from assay.training.evaluate import Evaluation, Matrices, Request

IMAGE, BOXES, MASK, NAMES, SPLIT = "image", "boxes", "mask", "mask_classes", "split"
SIDES = ((1_500, 256), (4_000, 192))  # (pictures at most, side of the square); 128 beyond
HASTY, HASTY_SIDE = 200.0, 192  # with less than so many seconds, the square has at most this side
PLAIN = 20.0  # pixels of a thing's longer side that are enough to see what it is,
SMALLER = 0.2  # when all but this share of the things have as many
REFIT = 0.4  # share of the time in which nets of what was chosen are trained on all pictures, where it is not hasty
# learn far less in the same time than the pretrained ones
SLOW = ("deeplab", "detr", "fcos", "pretrained_detr", "unet")
PATIENT = 1_800.0  # seconds from which they are searched, too, where pretrained nets are there
JUDGES = 400  # pictures that validate at most
OWN_SPLIT = 10  # pictures that a split of the archive must hold to be used
GATE = 4  # real pictures that every graph is compared on
_NO_USE = ("targets", "positive_class", "group_column", "time_column", "weight_column", "horizon")


class Annotated:
    """Base of task types whose answer is a drawing on the picture.  Heavy modules are imported when used."""

    def evaluate(self, matrices: Matrices, request: Request) -> Evaluation:
        from assay.vision.evaluate import evaluate

        return evaluate(matrices, request)

    def deliver(
        self,
        problem: Problem,
        sources: Sequence[Source],
        folder: Path,
        *,
        ensemble: bool,
        info: Mapping[str, Any],
        formats: Mapping[str, Mapping[str, Any]],
        seconds: float,
    ) -> Built:
        from assay.vision.deliver import deliver

        return deliver(problem, sources, folder, info, seconds, ensemble)

    def beside(self, table: Table, manifest: Manifest) -> dict[str, np.ndarray]:
        """What answers need of the rows besides the graph's outputs: `size`, (n, 2) width and height in pixels."""
        from assay.vision.truth import sizes_of

        return sizes_of(table)

    def render(self, format: str, predictions: Sequence[Mapping[str, Any]], manifest: Manifest) -> tuple[bytes, str]:
        """(file, media type) of the answers of one request, in one of the task's `formats`."""
        from assay.vision.exchange import MEDIA, render

        return render(format, predictions, manifest.classes), MEDIA[format]


def resolve(spec: JobSpec, profile: ProfileFacts, kind: str, metric: str, truths: tuple[str, ...]) -> Resolved:
    """truths: columns that can hold the truth, the preferred one first.  Raises SpecError."""
    task, because = spec.task, []
    for name in _NO_USE:
        if getattr(task, name) is not None:
            raise SpecError(f"{task.type} has no use for task.{name}; leave it out", pointer=f"/task/{name}")
    if task.ignore_columns:
        raise SpecError(
            f"{task.type} reads pictures alone; leave task.ignore_columns out", pointer="/task/ignore_columns"
        )
    facts = {c.name: c for c in profile.columns}
    if IMAGE not in facts or facts[IMAGE].type != ColumnType.IMAGE:
        raise SpecError(
            f"{task.type} needs an archive of pictures; this dataset has the columns {', '.join(list(facts)[:10])}",
            pointer="/dataset_id", code="schema_mismatch",
        )  # fmt: skip
    if task.target is not None and task.target not in truths:
        raise SpecError(
            f"task.target {task.target!r} is not what {task.type} learns; leave it out or use {' or '.join(truths)}",
            pointer="/task/target", code="target_not_found",
        )  # fmt: skip
    there = [t for t in ((task.target,) if task.target else truths) if t in facts]
    if not there:
        raise SpecError(
            f"the archive has no {' or '.join(truths)}: send COCO or Pascal VOC annotations"
            + (", or a folder of masks beside the pictures" if MASK in truths else "") + " with the pictures",
            pointer="/dataset_id", code="target_not_found",
        )  # fmt: skip
    target = there[0]
    usable = profile.n_rows - facts[target].missing
    if usable < MIN_ROWS:
        raise SpecError(
            f"only {usable} pictures are annotated; at least {MIN_ROWS} are needed",
            pointer="/dataset_id",
            code="too_few_rows",
        )
    if target == BOXES and facts[target].distinct == 1 and getattr(facts[target], "example", None) == "[]":
        raise SpecError(
            "no picture has anything annotated in it; there is nothing to learn. The warnings of the dataset tell of "
            "annotations that were left out",
            pointer="/dataset_id",
            code="too_few_rows",
        )
    if spec.objective.metric == "auto":
        because.append(f"metric {metric}: the usual one for {task.type.replace('_', ' ')}")
    else:
        metric = spec.objective.metric
    if metric not in METRICS or kind not in METRICS[metric].kinds:
        raise SpecError(
            f"{metric!r} is not a metric for {kind}; known: {', '.join(for_kind(kind))}", pointer="/objective/metric"
        )
    method, folds = spec.validation.method, spec.validation.folds
    if method not in ("auto", "holdout"):
        raise SpecError(
            f"validation.method {method!r} is not for {task.type}, whose nets are trained once; use holdout",
            pointer="/validation/method",
        )
    if folds is None:
        folds = 4 if usable < 60 else 5 if usable < 400 else 8
    because.append(f"validation holdout of 1/{folds}: {usable} pictures; nets are trained once")
    side = side_of(usable, spec.limits.time_seconds)
    large = f", or {HASTY_SIDE} where boxes show that the things in them are large" if side > HASTY_SIDE else ""
    because.append(f"pictures scaled into {side} x {side} pixels, for {usable} of them and the time there is{large}")
    seconds = spec.limits.time_seconds
    families = pick_families(spec, usable, 1, 1)
    if spec.search.families is None:
        families, absent = available(families)
        because += [f"{name} is left out: {why}" for name, why in absent]
        families = _worth_starting(families, seconds, because)
    if SPLIT in facts:
        because.append(f"the archive's own test and val splits are used where they hold {OWN_SPLIT} pictures or more")
    several, again = spec.search.ensemble, 0.0
    if several:
        because.append("up to three trials' nets answer together, where the validation pictures like that")
    if several and spec.validation.refit and seconds is not None and seconds >= HASTY:
        again = REFIT
    if again:
        because.append(f"{again:.0%} {REFITTED}")
    return Resolved(
        task=task.type, kind=kind, target=target, metric=metric, greater_is_better=METRICS[metric].greater_is_better,
        features=(IMAGE,), left_out=tuple((n, "goes with a picture and is not looked at") for n in facts
                                          if n not in (IMAGE, BOXES, MASK, NAMES, SPLIT)),
        method="holdout", folds=folds, test_fraction=spec.validation.test_fraction, seed=spec.validation.seed,
        strategy=pick_strategy(spec), families=families, ensemble=several,
        lane="gpu" if spec.device == "gpu" else "cpu", n_rows=usable, because=tuple(because),
        options={"side": side, "refit_share": again, "worth_share": WORTH} | ({"reads": [NAMES]} if target == MASK and NAMES in facts else {}),
    )  # fmt: skip


def _worth_starting(families: tuple[str, ...], seconds: float | None, because: list[str]) -> tuple[str, ...]:
    """Without what needs long to learn where the time is better spent on nets that have seen ImageNet."""
    slow = tuple(f for f in families if f in SLOW)
    quick = any(f.startswith("pretrained_") for f in families if f not in slow)
    if seconds is None or seconds >= PATIENT or not quick or not slow:
        return families
    because.append(f"{', '.join(slow)} left out: in {seconds:g} s other nets that have seen ImageNet learn more")
    return tuple(f for f in families if f not in slow)


def side_of(n: int, seconds: float | None) -> int:
    """Of the square that n pictures are scaled into: as memory and time allow."""
    side = next((s for most, s in SIDES if n <= most), 128)
    return min(side, HASTY_SIDE) if seconds is not None and seconds < HASTY else side


def sized(resolved: Resolved, shares: np.ndarray) -> Resolved:
    """With a smaller square where the things are large: a net sees more of them at once there, and learns more in the time.

    shares: the longer side of every box, of that of its picture.
    """
    side = int(resolved.options["side"])
    large = len(shares) > 0 and float(np.quantile(shares, SMALLER)) * HASTY_SIDE >= PLAIN
    return replace(resolved, options={**resolved.options, "side": min(side, HASTY_SIDE) if large else side})


def front_of(resolved: Resolved) -> ImageFront:
    return ImageFront(int(resolved.options["side"]), "letterbox")


def problem_of(
    table: Table, resolved: Resolved, keep: np.ndarray, y: np.ndarray, classes: tuple[str, ...], notes: list[str]
) -> Problem:
    """keep: rows with a truth; y: theirs."""
    front = front_of(resolved)
    kept = table.take(keep)
    files = kept.blobs(IMAGE)
    pictures = decoded(front, files)
    parts = resolved.options.get("parts")
    if parts is None:
        folds, tested = folds_of(kept, resolved, files, notes)
    else:
        folds, tested = given_parts(parts, keep, resolved, files, notes)
    features = Table({IMAGE: pictures}, {IMAGE: ColumnType.IMAGE})
    return Problem(
        resolved=replace(
            resolved,
            n_classes=len(classes),
            folds=1,
            n_rows=len(keep),
            options={**resolved.options, "tested": tested},
        ),
        features=features,
        y=y,
        weight=None,
        target=Target(resolved.kind, len(classes), resolved.metric),
        classes=classes,
        folds=folds,
        gate=Table({IMAGE: gate_pictures(pictures, folds.pairs[0][1][:GATE])}, features.types),
        left_out=len(table) - len(keep),
        notes=tuple(notes),
        fronts={IMAGE: front},
    )


def objects(values: list[Any]) -> np.ndarray:
    """An array of one object a row."""
    out = np.empty(len(values), object)
    out[:] = values
    return out


def sorted_classes(labels: set[str], resolved: Resolved) -> tuple[str, ...]:
    if not labels:
        raise DataError("no picture has anything annotated in it; there is nothing to learn", code="too_few_rows")
    return tuple(sorted(labels))


def folds_of(table: Table, resolved: Resolved, files: Blobs, notes: list[str]) -> tuple[Folds, int]:
    """Equal files stay together; a test or val split of the archive is used if it is large enough.

    And how many pictures the archive itself sets apart to test on: nothing ever learns from those.
    """
    n = len(table)
    rng = np.random.default_rng([resolved.seed, 1])
    code = _contents(files)
    split = table.words(SPLIT).values() if SPLIT in table.columns else np.full(n, "", object)
    test, valid = (_named(split, name, code, n, notes) for name in ("test", "val"))
    valid &= ~test
    tested = int(test.sum())
    rest = np.unique(code[~test & ~valid])
    if not valid.any() or not test.any():
        fraction = 0.0 if test.any() else resolved.test_fraction
        made = make_folds("holdout", max(2, resolved.folds), fraction, rng, n=len(rest))
        if not test.any():
            test = np.isin(code, rest[made.test])
        if not valid.any():
            judges = rest[made.pairs[0][1]][:JUDGES]
            valid = np.isin(code, judges) & ~test
    train = ~test & ~valid
    if not train.any() or not valid.any():
        raise DataError("too few different pictures to train on some and judge on others", code="too_few_rows")
    return Folds(np.flatnonzero(test), ((np.flatnonzero(train), np.flatnonzero(valid)),)), tested


def given_parts(
    parts: Mapping[str, int], keep: np.ndarray, resolved: Resolved, files: Blobs, notes: list[str]
) -> tuple[Folds, int]:
    """Where the user gave a validation dataset, a test dataset, or both; their rows follow the training rows in the table.

    keep: positions in the table of the pictures `files`.  Pictures that are in another part, too, are not learned from.  And how
    many test.  Raises DataError for a part without an annotated picture.
    """
    ends = np.cumsum([parts.get(name, 0) for name in ("train", "validation", "test")])
    part = np.searchsorted(ends, keep, side="right")  # 0, 1 or 2
    for i, name in enumerate(("train", "validation", "test")):
        if parts.get(name) and not (part == i).any():
            raise DataError(f"no picture of the {name} dataset is annotated", code="too_few_rows")
    code = _contents(files)
    valid, test = part == 1, part == 2
    known = (part == 0) & np.isin(code, code[valid | test])
    if known.any():
        notes.append(
            f"{int(known.sum())} training pictures are not learned from: the validation or test dataset has them, too"
        )
    rest = np.unique(code[(part == 0) & ~known])
    if not valid.any():
        made = make_folds(
            "holdout", max(2, resolved.folds), 0.0, np.random.default_rng([resolved.seed, 1]), n=len(rest)
        )
        valid = (part == 0) & np.isin(code, rest[made.pairs[0][1]][:JUDGES])
    train = (part == 0) & ~known & ~valid
    if not train.any() or not valid.any():
        raise DataError("too few different pictures to train on some and judge on others", code="too_few_rows")
    return Folds(np.flatnonzero(test), ((np.flatnonzero(train), np.flatnonzero(valid)),)), int(test.sum())


def _contents(files: Blobs) -> np.ndarray:
    """A number for every picture, the same for equal files."""
    place: dict[bytes, int] = {}
    return np.array([place.setdefault(hashlib.sha256(f or b"").digest(), len(place)) for f in files])


def _named(split: np.ndarray, name: str, code: np.ndarray, n: int, notes: list[str]) -> np.ndarray:
    found = np.isin(code, code[split == name])
    count = int(found.sum())
    if count and (count < OWN_SPLIT or count > 0.6 * n):
        notes.append(f"the archive's {name} split of {count} pictures is not used as such: too few, or most of all")
        return np.zeros(n, bool)
    return np.asarray(found)


def gate_pictures(files: Blobs, rows: np.ndarray) -> Blobs:
    """The rows' pictures, a missing one, and one that cannot be read."""
    return Blobs.of([*(files[int(i)] for i in rows), None, b"no picture"])
