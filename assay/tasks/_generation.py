"""What a generation job is about: rows or pictures, which columns, what part judges, and the condition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from assay.data.front_image import ImageFront
from assay.data.fronts import Front
from assay.data.split import make_folds
from assay.data.table import Blobs, ColumnType, Table, Words
from assay.errors import DataError, SpecError
from assay.families import Target, for_task
from assay.metrics import METRICS, for_kind
from assay.spec import JobSpec, ProfileFacts, Resolved, column, pick_families, pick_strategy
from assay.tasks._problem import Problem

IMAGES, ROWS = "generated_images", "generated_rows"
MIN_ROWS = 60  # below it nothing can be told about samples
CV_ROWS = 2_000
SIZES = (8, 32)  # pixels a side of the pictures that are made
LOOKED_AT = 50  # pictures whose size decides
MAX_CONDITIONS = 100

_NO_USE = ("targets", "positive_class", "weight_column", "time_column", "group_column", "horizon")


def resolve(spec: JobSpec, profile: ProfileFacts) -> Resolved:
    """Every `auto` decided.  Raises SpecError."""
    task, because = spec.task, []
    for name in _NO_USE:
        if getattr(task, name) is not None:
            raise SpecError(f"generation has no use for task.{name}; leave it out", pointer=f"/task/{name}")
    if profile.n_rows < MIN_ROWS:
        raise SpecError(
            f"{profile.n_rows} rows are too few to learn from and to judge samples by; at least {MIN_ROWS} are needed",
            pointer="/dataset_id",
            code="too_few_rows",
        )
    for i, name in enumerate(task.ignore_columns):
        column(profile, name, f"/task/ignore_columns/{i}")
    images = [c.name for c in profile.columns if c.type == ColumnType.IMAGE and c.name not in task.ignore_columns]
    kind = IMAGES if images else ROWS
    because.append(
        f"{'pictures' if images else 'rows'}: {'column ' + repr(images[0]) if images else 'no column of files'}"
    )
    target = task.target
    if target is not None:
        column(profile, target, "/task/target", "target_not_found")
    elif images and any(c.name == "label" and 2 <= c.distinct <= MAX_CONDITIONS for c in profile.columns):
        target = "label"
        because.append("condition 'label': the folders of the archive; name another by task.target")
    features, left_out = _columns(spec, profile, images, target)
    metric = spec.objective.metric
    if metric == "auto":
        metric = "fidelity" if kind == ROWS and target is not None else "two_sample"
        because.append("metric two_sample: how hard samples are to tell from held-out data; copies are refused")
        if metric == "fidelity":
            because[-1] = "metric fidelity: two_sample, and what samples teach of the target; copies are refused"
    if metric not in METRICS or kind not in METRICS[metric].kinds:
        raise SpecError(
            f"{metric!r} is not a metric for {kind}; known: {', '.join(for_kind(kind))}", pointer="/objective/metric"
        )
    if metric == "tstr" and target is None:
        raise SpecError("metric 'tstr' trains on samples to predict task.target: name it", pointer="/task/target")
    method, folds = _validation(spec, profile.n_rows, kind, because)
    blended = kind == ROWS and spec.search.ensemble
    because.append(
        "rows are drawn from one or several generators, as suits held-out rows"
        if blended
        else "one generator is delivered"
    )
    return Resolved(
        task=task.type,
        kind=kind,
        target=target or "",
        metric=metric,
        greater_is_better=METRICS[metric].greater_is_better,
        features=tuple(features),
        left_out=tuple(left_out),
        method=method,
        folds=folds,
        test_fraction=spec.validation.test_fraction,
        seed=spec.validation.seed,
        strategy=pick_strategy(spec),
        families=_families(spec, profile.n_rows, len(features), "images" if images else "rows"),
        ensemble=blended,
        lane="gpu" if spec.device == "gpu" else "cpu",
        n_rows=profile.n_rows,
        because=tuple(because),
    )


def prepare(table: Table, resolved: Resolved) -> Problem:
    """The columns to imitate, and the rows that train, validate and test.  Raises DataError."""
    rng = np.random.default_rng([resolved.seed, 1])
    features = table.select(resolved.features)
    fronts: dict[str, Front] = {}
    keep = np.arange(len(table))
    y = np.zeros(len(table), np.int64)
    classes: tuple[str, ...] = ()
    if resolved.kind == IMAGES:
        name = next(n for n, c in features.columns.items() if isinstance(c, Blobs))
        keep = np.flatnonzero(~features.blobs(name).missing)
        if resolved.target:
            y, classes = _labels(table, resolved.target)
            keep = keep[y[keep] >= 0]
        fronts = {name: ImageFront(_size(features.blobs(name)))}
    if len(keep) < MIN_ROWS:
        raise DataError(f"{len(keep)} rows can be used; at least {MIN_ROWS} are needed", code="too_few_rows")
    y, features = y[keep], features.take(keep)
    folds = make_folds(
        resolved.method,
        max(2, resolved.folds),
        resolved.test_fraction,
        rng,
        n=len(keep),
        strata=_strata(features, resolved, y),
    )
    return Problem(
        resolved=replace(resolved, folds=len(folds), n_rows=len(keep), n_classes=len(classes)),
        features=features,
        y=y,
        weight=None,
        target=Target(resolved.kind, len(classes), resolved.metric),
        classes=classes,
        folds=folds,
        gate=features.take(np.empty(0, np.int64)),
        left_out=len(table) - len(keep),
        fronts=fronts,
    )


def _columns(
    spec: JobSpec, profile: ProfileFacts, images: list[str], target: str | None
) -> tuple[list[str], list[tuple[str, str]]]:
    """The columns to imitate, and why others are not."""
    kept: list[str] = []
    left_out: list[tuple[str, str]] = []
    for c in profile.columns:
        why = None
        if c.name in spec.task.ignore_columns:
            why = "ignored as asked"
        elif images:
            why = None if c.name in (images[0], target) else "goes with a picture and is not drawn"
        elif c.name == target:
            why = None
        elif c.type == ColumnType.ID:
            why = "identifies rows: new rows need new ones"
        elif c.type == ColumnType.TEXT:
            why = "free text is not drawn"
        elif c.distinct == 0:
            why = "has no value at all"
        if why is None:
            kept.append(c.name)
        else:
            left_out.append((c.name, why))
    if target is not None and target not in kept:
        raise SpecError(f"task.target {target!r} is ignored by task.ignore_columns", pointer="/task/target")
    if not kept:
        reasons = "; ".join(f"{c!r} {why}" for c, why in left_out[:5])
        raise SpecError(f"no column is left to imitate: {reasons}", pointer="/task/ignore_columns")
    return kept, left_out


def _families(spec: JobSpec, n_rows: int, n_features: int, data: str) -> tuple[str, ...]:
    """Families for this kind of data; the user's must be of it."""
    known = for_task(spec.task.type)
    picked = pick_families(spec, n_rows, n_features)
    for i, name in enumerate(spec.search.families or ()):
        if getattr(known[name], "data", "") != data:
            others = ", ".join(n for n, f in known.items() if getattr(f, "data", "") == data)
            raise SpecError(
                f"{name!r} does not draw {data}; families that do: {others}", pointer=f"/search/families/{i}"
            )
    kept = tuple(n for n in picked if getattr(known[n], "data", "") == data)
    if not kept:
        raise SpecError(f"no installed family draws {data}", pointer="/task/type", code="capacity_unavailable")
    return kept


def _validation(spec: JobSpec, n: int, kind: str, because: list[str]) -> tuple[str, int]:
    method, folds = spec.validation.method, spec.validation.folds
    if method in ("group", "time"):
        raise SpecError(
            f"validation.method {method!r} is not for generation; use holdout or cv", pointer="/validation/method"
        )
    if method == "auto":
        method = "cv" if kind == ROWS and n < CV_ROWS else "holdout"
        because.append(
            f"validation cv: {n} rows are so few that one part of them tells generators apart by luck"
            if method == "cv"
            else "validation holdout: samples are compared with one held-out part"
        )
    if folds is None:
        folds = 3 if n < 1_000 else 4 if n < 4_000 else 5
        because.append(f"one part of {folds} held out: {n} rows" if method == "holdout" else f"{folds} folds: {n} rows")
    return method, folds


def _labels(table: Table, target: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes of a condition column, -1 where missing, and its values."""
    from assay.data.labels import labels

    words = labels(table, target)
    used = np.unique(words.codes[words.codes >= 0])
    if not 2 <= len(used) <= MAX_CONDITIONS:
        raise DataError(
            f"{target!r} has {len(used)} distinct values; a condition of pictures has 2 to {MAX_CONDITIONS}",
            column=target,
            code="schema_mismatch",
        )
    names = sorted(str(words.levels[c]) for c in used)
    place = np.full(len(words.levels) + 1, -1, np.int64)
    for c in used:
        place[c] = names.index(str(words.levels[c]))
    return place[words.codes], tuple(names)


def _strata(features: Table, resolved: Resolved, y: np.ndarray) -> np.ndarray | None:
    """The condition is kept in proportion."""
    if resolved.kind == IMAGES or not resolved.target:
        return y if resolved.target else None
    held = features.columns[resolved.target]
    if isinstance(held, Words):
        return np.asarray(np.unique(held.codes, return_inverse=True)[1])
    return np.asarray(np.nan_to_num(features.numbers(resolved.target), nan=-np.inf))


def _size(files: Blobs) -> int:
    """Pixels a side: the usual shorter side of the files, within SIZES, in steps of four."""
    from assay.data.pixels import TooLarge, Unreadable, open_picture

    sides = []
    for i in range(min(len(files), LOOKED_AT)):
        data = files[i]
        try:
            if data is not None:
                sides.append(min(open_picture(data).size))
        except (Unreadable, TooLarge):
            continue
    if not sides:
        raise DataError("none of the first pictures can be read", code="unsupported_format")
    return int(np.clip(np.median(sides), *SIZES)) // 4 * 4
