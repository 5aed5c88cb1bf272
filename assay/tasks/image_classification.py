"""Classification of pictures: one of two or more classes for every picture."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.data.split import Folds, make_folds
from assay.data.table import Blobs, ColumnType, Table
from assay.errors import DataError, SpecError
from assay.spec import ColumnFacts, JobSpec, ProfileFacts, Resolved
from assay.tasks._available import available
from assay.tasks._pictures import gate_pictures
from assay.tasks._problem import Problem
from assay.tasks.classification import Classification

if TYPE_CHECKING:
    from assay.tasks import TaskType

TARGET, SPLIT, MASK = "label", "split", "mask"
SIDES = (32, 64, 96, 128, 192)  # that larger pictures are brought to: they halve and quarter without rest
MAX_PIXEL_BYTES = 600 << 20  # of all decoded pictures together
LEAST_SIDE, MOST_SIDE = 16, 128  # a core reads about 400 pictures of 128 pixels a second with a pretrained net
GATE_ROWS = 24  # real pictures that every graph is compared on: a graph of several pretrained nets takes 50 ms for one
LARGE = 1500  # pictures from which one part for validation is enough


class ImageClassification(Classification):
    """Binary and multiclass.  The archive's own test and val folders judge and choose where there are some."""

    name = "image_classification"
    about = "predict the class of every picture, with probabilities"
    kinds: tuple[str, ...] = ("binary", "multiclass")

    def default_metric(self, kind: str) -> str:
        return "accuracy"

    def resolve(self, spec: JobSpec, profile: ProfileFacts) -> Resolved:
        column = _pictures(profile)
        spec = replace(spec, task=replace(spec.task, target=spec.task.target or TARGET))
        for role in ("group_column", "time_column", "weight_column"):
            if getattr(spec.task, role) is not None:
                raise SpecError(f"{self.name} takes no {role}", pointer=f"/task/{role}")
        if spec.task.target == TARGET and all(c.name != TARGET for c in profile.columns):
            raise SpecError(
                f"the pictures have no classes ({TARGET!r} is not a column); send them in one folder for each class",
                pointer="/task/target",
                code="target_not_found",
            )
        found = super().resolve(spec, profile)
        because = [
            b for b in found.because if "folds" not in b and "one fold" not in b and not b.startswith("validation")
        ]
        split = next((c for c in profile.columns if c.name == SPLIT), None)
        own = _own_splits(split)
        tested = _tested(split)
        method, folds = _validation(spec, found.n_rows - tested, own, because)
        families = found.families
        if spec.search.families is None:
            families, missing = available(families)
            because += [f"{name} is left out: {why}" for name, why in missing]
        size = image_size(_median_side(column), found.n_rows)
        because.append(f"pictures are brought to {size} x {size} pixels")
        reasons = {SPLIT: "says which part a picture is of", MASK: "is no picture to classify"}
        left_out = tuple(
            (c.name, dict(found.left_out).get(c.name) or reasons.get(c.name, "is not the picture"))
            for c in profile.columns
            if c.name not in (column.name, found.target)
        )
        return replace(
            found, features=(column.name,), left_out=left_out, method=method, folds=folds, families=families,
            because=tuple(because), options={**found.options, "image_size": size, "tested": tested},
        )  # fmt: skip

    def prepare(self, table: Table, resolved: Resolved) -> Problem:
        from assay.data.front_image import ImageFront
        from assay.data.images.shared import decoded

        name = resolved.features[0]
        if not isinstance(table.columns[name], Blobs):
            raise DataError(f"{name!r} holds no pictures", column=name, code="schema_mismatch")
        kept = np.flatnonzero(_known(table, resolved.target))
        given = "parts" in resolved.options  # the user's own validation or test dataset
        problem = super().prepare(table, resolved if given else replace(resolved, method="holdout", folds=2))
        files = problem.features.blobs(name)
        split = table.words(SPLIT).values()[kept] if SPLIT in table.columns else np.full(len(kept), "")
        if given:
            split = split.copy()
            split[problem.folds.test] = "test"
            if len(problem.folds) == 1:
                split[problem.folds.pairs[0][1]] = "val"
        copies = _copies(files, split)
        notes = list(problem.notes)
        if copies.any():
            notes.append(
                f"{int(copies.sum())} pictures with the same content as another one are in no part of the validation: "
                f"they would be known beforehand"
            )
        folds = _without(problem.folds, copies) if given else folds_of(resolved, split, copies, problem.y)
        known = np.unique(problem.y[np.concatenate([train for train, _ in folds.pairs])])
        if len(known) < 2:
            raise DataError(
                f"the training pictures have one class only, {problem.classes[known[0]]!r}", code="single_class_target"
            )
        front = ImageFront(int(resolved.options["image_size"]))
        some = np.random.default_rng([resolved.seed, 2]).permutation(len(files))[:GATE_ROWS]
        return replace(
            problem,
            resolved=replace(resolved, n_classes=len(problem.classes), folds=len(folds), n_rows=len(problem.y)),
            features=Table({name: decoded(front, files)}, {name: ColumnType.IMAGE}),
            gate=Table({name: decoded(front, gate_pictures(files, some))}, {name: ColumnType.IMAGE}),
            folds=folds,
            fronts={name: front},
            notes=tuple(notes),
        )


def image_size(longer_side: int, n: int) -> int:
    """The side that pictures are brought to: their own where they are small, else what memory allows."""
    if longer_side <= SIDES[0] + 8:
        return max(LEAST_SIDE, longer_side + longer_side % 2)
    wanted = min(MOST_SIDE, next((s for s in SIDES if s >= 0.8 * longer_side), SIDES[-1]))
    fitting = [s for s in SIDES if s <= wanted and 3 * s * s * n <= MAX_PIXEL_BYTES]
    return fitting[-1] if fitting else SIDES[0]


def folds_of(resolved: Resolved, split: np.ndarray, copies: np.ndarray, y: np.ndarray) -> Folds:
    """Positions of the rows of each part.  split: "train", "val", "test" or "" by row; copies: bool, in no part."""
    usable = ~copies
    test = np.flatnonzero(usable & (split == "test"))
    valid = np.flatnonzero(usable & (split == "val"))
    rest = np.flatnonzero(usable & (split != "test") & (split != "val"))
    rng = np.random.default_rng([resolved.seed, 1])
    share = 0.0 if len(test) else resolved.test_fraction
    if not len(rest):  # only val and test: val is all there is to learn from
        rest, valid = valid, valid[:0]
    if len(valid):
        drawn = make_folds("holdout", 2, share, rng, n=len(rest), strata=y[rest])
        train = rest[np.sort(np.concatenate(drawn.pairs[0]))]
        return Folds(test if len(test) else rest[drawn.test], ((train, valid),))
    k = min(resolved.folds, max(2, len(rest) // 5))
    drawn = make_folds(resolved.method, k, share, rng, n=len(rest), strata=y[rest])
    return Folds(test if len(test) else rest[drawn.test], tuple((rest[a], rest[b]) for a, b in drawn.pairs))


def _without(folds: Folds, copies: np.ndarray) -> Folds:
    """The training parts without pictures that another part, or the same one, has already."""
    return Folds(folds.test, tuple((train[~copies[train]], valid) for train, valid in folds.pairs))


def _pictures(profile: ProfileFacts) -> ColumnFacts:
    found = [c for c in profile.columns if c.type == ColumnType.IMAGE and c.name != MASK]
    if not found:
        raise SpecError(
            "the dataset has no pictures; send a zip or tar with one folder of pictures for each class",
            pointer="/task/type",
        )
    return found[0]


def _median_side(column: ColumnFacts) -> int:
    told: Any = getattr(column, "statistics", None) or {}
    return int(told.get("longer_side", {}).get("median", 64))


def _own_splits(split: ColumnFacts | None) -> set[str]:
    told: Any = getattr(split, "statistics", None) or {}
    return {str(entry["value"]) for entry in told.get("top", ())}


def _tested(split: ColumnFacts | None) -> int:
    """Pictures of the archive's own test part: they are not trained on."""
    told: Any = getattr(split, "statistics", None) or {}
    return sum(int(entry["count"]) for entry in told.get("top", ()) if str(entry["value"]) == "test")


def _validation(spec: JobSpec, n: int, own: set[str], because: list[str]) -> tuple[str, int]:
    method, folds, seconds = spec.validation.method, spec.validation.folds, spec.limits.time_seconds
    if "test" in own:
        because.append("test rows: the archive's own")
    if "val" in own and own & {"train", "test"}:
        because.append("validation: the archive's own val pictures")
        return "holdout", 2
    if method == "auto":
        method = "holdout" if n >= LARGE or (seconds is not None and seconds < 0.1 * n) else "cv"
    if folds is None:
        folds = (8 if n >= 4000 else 6) if method == "holdout" else 4
    because.append(
        f"validation {method}, {'one part of 1/' if method == 'holdout' else 'parts: '}{folds}: {n} pictures"
    )
    return method, min(folds, max(2, n // 5))


def _known(table: Table, target: str) -> np.ndarray:
    from assay.data.labels import labels

    return np.asarray(labels(table, target).codes >= 0)


def _copies(files: Blobs, split: np.ndarray) -> np.ndarray:
    """bool (n,): pictures whose bytes another one has, all but one; that of test stays before val, val before train."""
    rank = {"test": 0, "val": 1}
    order = sorted(range(len(files)), key=lambda i: rank.get(str(split[i]), 2))
    seen: set[bytes] = set()
    copies = np.zeros(len(files), bool)
    for i in order:
        data = files[i]
        if data is None:
            continue
        digest = hashlib.sha256(data).digest()
        copies[i] = digest in seen
        seen.add(digest)
    return copies


task: TaskType = ImageClassification()
