"""Several targets of pictures: classes and numbers of the whole, a mask, and columns beside them as side information."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from assay.data.front_image import ImageFront
from assay.data.images.shared import decoded
from assay.data.table import Blobs, ColumnType, Table
from assay.errors import DataError, SpecError
from assay.metrics import METRICS, for_kind
from assay.model.gate import gate_table
from assay.multitask.pictures import SEGMENTATION, MaskTarget, PictureTarget, Row
from assay.multitask.targets import KIND, OneTarget
from assay.spec import MIN_ROWS, ColumnFacts, JobSpec, ProfileFacts, Resolved, column, pick_strategy
from assay.tasks import _pictures as pictures
from assay.tasks._multitask_kinds import Asked, kind_of, read_target
from assay.tasks._problem import Problem, given_folds

OWN = (pictures.IMAGE, "path", pictures.BOXES, pictures.MASK, pictures.NAMES, pictures.SPLIT)
LABEL = "label"
SIDES = (64, 96, 128, 192, 256)  # of the square that pictures are scaled into
MOST_PIXELS = 80_000_000  # of all pictures of a job together, as far as SIDES allow
GATE_ROWS, HARD_ROWS = 4, 16  # real pictures and made-up rows that every graph is compared on
_NO_USE = ("group_column", "time_column", "weight_column")


def resolve(
    spec: JobSpec, profile: ProfileFacts, asked: tuple[Asked, ...], families: tuple[str, ...], metric: str
) -> Resolved:
    """asked: what task.targets names, () for what the archive holds.  Raises SpecError."""
    task, facts = spec.task, {c.name: c for c in profile.columns}
    for name in _NO_USE:
        if getattr(task, name) is not None:
            raise SpecError(f"multitask over pictures takes no {name}; leave it out", pointer=f"/task/{name}")
    because = [f"pictures: {pictures.IMAGE!r} holds them"]
    if not asked:
        there = (LABEL, pictures.MASK if pictures.MASK in facts else pictures.BOXES)
        asked = tuple(Asked(n) for n in there if n in facts)
        because.append(f"targets {', '.join(repr(a.name) for a in asked)}: what the archive tells")
    if len(asked) < 2:
        held = ", ".join(repr(n) for n in facts)
        raise SpecError(
            "multitask over pictures needs two targets or more, such as 'label' and 'mask': send classes by folder or in "
            f"a csv, and masks or outlines, or name them in task.targets; the dataset has {held}",
            pointer="/task/targets", code="target_not_found",
        )  # fmt: skip
    targets: list[dict[str, Any]] = []
    for i, one in enumerate(asked):
        found = _target(one, facts, profile, i)
        if any(t["source"] == found["source"] for t in targets):
            raise SpecError(f"task.targets names {found['source']!r} twice", pointer=f"/task/targets/{i}")
        targets.append(found)
        because.append(f"{found['name']!r} is {found['kind']}")
    if sum(t["kind"] == SEGMENTATION for t in targets) > 1:
        raise SpecError("one mask a picture is learned; name either 'mask' or 'boxes'", pointer="/task/targets")
    sources = [t["source"] for t in targets]
    for i, name in enumerate(task.ignore_columns):
        column(profile, name, f"/task/ignore_columns/{i}")
    beside, left_out = _beside(spec, profile, sources)
    if beside:
        because.append(f"side information: {', '.join(map(repr, beside))}")
    usable = profile.n_rows - min(facts[s].missing for s in sources)
    method, folds = spec.validation.method, spec.validation.folds
    if method not in ("auto", "holdout"):
        raise SpecError(
            f"validation.method {method!r} is not for several targets of pictures, whose nets are trained once; use holdout",
            pointer="/validation/method",
        )
    if folds is None:
        folds = 4 if usable < 60 else 5 if usable < 400 else 8
    side = side_of(facts[pictures.IMAGE], usable)
    because += [
        f"validation holdout of 1/{folds}: {usable} pictures; nets are trained once",
        f"pictures scaled into {side} x {side} pixels",
        "rows that miss some labels are used for the others",
    ]
    if pictures.SPLIT in facts:
        because.append(
            f"the archive's own test and val splits are used where they hold {pictures.OWN_SPLIT} pictures or more"
        )
    if spec.objective.metric == "auto":
        because.append(f"metric {metric}: every target counts the same, whatever its unit")
    else:
        metric = spec.objective.metric
    if metric not in METRICS or KIND not in METRICS[metric].kinds:
        raise SpecError(
            f"{metric!r} is not a metric for {KIND}; known: {', '.join(for_kind(KIND))}", pointer="/objective/metric"
        )
    return Resolved(
        task=task.type, kind=KIND, target=", ".join(t["name"] for t in targets), metric=metric,
        greater_is_better=METRICS[metric].greater_is_better, features=(pictures.IMAGE, *beside), left_out=left_out,
        method="holdout", folds=folds, test_fraction=spec.validation.test_fraction, seed=spec.validation.seed,
        strategy=pick_strategy(spec), families=families, ensemble=spec.search.ensemble,
        lane="gpu" if spec.device == "gpu" else "cpu", n_rows=usable, because=tuple(because),
        options={"form": "pictures", "side": side, "targets": targets,
                 "reads": [n for n in (*sources, pictures.NAMES) if n in facts]},
    )  # fmt: skip


def side_of(facts: ColumnFacts, n: int) -> int:
    """The square that holds most pictures without scaling them up much, and all of them in memory."""
    told: Any = getattr(facts, "statistics", None) or {}
    longer = float(told.get("longer_side", {}).get("median", 256))
    wanted = next((s for s in SIDES if s >= 0.8 * longer), SIDES[-1])
    fitting = [s for s in SIDES if s <= wanted and s * s * n <= MOST_PIXELS]
    return fitting[-1] if fitting else SIDES[0]


def prepare(table: Table, resolved: Resolved) -> Problem:
    """Pictures with any label or mask, their truths in the square, and one fold."""
    side, n = int(resolved.options["side"]), len(table)
    heads: list[OneTarget | MaskTarget] = []
    labels: list[np.ndarray] = []
    masks: dict[int, np.ndarray] = {}
    notes: list[str] = []
    for told in resolved.options["targets"]:
        if told["kind"] == SEGMENTATION:
            heads.append(MaskTarget(str(told["name"]), _masks(table, resolved, told, side, masks, notes)))
        else:
            target, values = read_target(table, str(told["source"]), str(told["kind"]))
            heads.append(replace(target, name=str(told["name"])))
            labels.append(values)
    matrix = np.column_stack(labels) if labels else np.zeros((n, 0))
    there = ~table.blobs(pictures.IMAGE).missing
    told_of = ~np.isnan(matrix).all(1) if labels else np.zeros(n, bool)
    told_of |= np.isin(np.arange(n), list(masks))
    keep = np.flatnonzero(there & told_of)
    if len(keep) < MIN_ROWS:
        raise DataError(
            f"{len(keep)} pictures have a label or a mask; at least {MIN_ROWS} are needed", code="too_few_rows"
        )
    y = pictures.objects([Row(matrix[i], masks.get(int(i))) for i in keep])
    kept = table.take(keep)
    files = kept.blobs(pictures.IMAGE)
    front = ImageFront(side, "letterbox")
    plain = kept.select([n for n in resolved.features if n in kept.names])
    given = resolved.options.get("parts")  # the user's own validation or test dataset
    if given is None:
        folds, _ = pictures.folds_of(kept, resolved, files, notes)
    else:
        rng = np.random.default_rng([resolved.seed, 1])
        folds = given_folds(given, keep, resolved, 2, rng, y=np.zeros(len(keep), np.int64), groups=None, order=None)
    _check(y, folds.pairs[0], heads)
    gate = gate_table(plain, np.random.default_rng([resolved.seed, 2]), GATE_ROWS)
    real, hard = np.arange(min(GATE_ROWS, len(plain))), np.arange(min(GATE_ROWS, len(plain)), len(gate))
    gate = gate.take(np.concatenate([real, hard[: HARD_ROWS // 2], hard[-HARD_ROWS // 2 :]]))

    def seen(rows: Table, pixels: Blobs) -> Table:
        columns: dict[str, Any] = {**rows.columns, pictures.IMAGE: decoded(front, pixels)}
        return Table(columns, rows.types)

    return Problem(
        resolved=replace(resolved, folds=1, n_rows=len(keep)),
        features=seen(plain, files),
        y=y,
        weight=None,
        target=PictureTarget.of(heads, side, resolved.metric),
        classes=(),
        folds=folds,
        gate=seen(gate, gate.blobs(pictures.IMAGE)),
        left_out=n - len(keep),
        notes=tuple(notes),
        fronts={pictures.IMAGE: front},
    )


def _target(one: Asked, facts: dict[str, ColumnFacts], profile: ProfileFacts, i: int) -> dict[str, Any]:
    pointer = f"/task/targets/{i}"
    if one.columns is not None:
        raise SpecError(
            "a target of pictures is told from the picture; leave columns out", pointer=f"{pointer}/columns"
        )
    source = one.name
    if source == pictures.MASK and source not in facts and pictures.BOXES in facts:
        source = pictures.BOXES
    found = column(profile, source, pointer, "target_not_found")
    if source in (pictures.MASK, pictures.BOXES):
        if one.kind not in ("auto", SEGMENTATION):
            raise SpecError(
                f"{one.name!r} holds masks; its kind is segmentation, not {one.kind!r}", pointer=f"{pointer}/kind"
            )
        if profile.n_rows - found.missing < MIN_ROWS:
            raise SpecError(
                f"only {profile.n_rows - found.missing} pictures have a mask; at least {MIN_ROWS} are needed",
                pointer=pointer, code="too_few_rows",
            )  # fmt: skip
        return {"name": one.name, "kind": SEGMENTATION, "source": source}
    if source in OWN:
        raise SpecError(f"{source!r} is nothing that could be told of a picture", pointer=pointer)
    return {"name": one.name, "kind": kind_of(found, profile.n_rows, pointer, one.kind), "source": source}


def _beside(
    spec: JobSpec, profile: ProfileFacts, sources: list[str]
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Columns of side information, and why others are not looked at."""
    kept, left = [], []
    for c in profile.columns:
        if c.name == pictures.IMAGE:
            continue
        if c.name in sources:
            left.append((c.name, "a target"))
        elif c.name in OWN:
            left.append((c.name, "goes with a picture and is not looked at"))
        elif c.name in spec.task.ignore_columns:
            left.append((c.name, "ignored as asked"))
        elif c.type in (ColumnType.ID, ColumnType.CONSTANT, ColumnType.IMAGE) or c.distinct < 2:
            left.append((c.name, "identifies rows or has one value only"))
        else:
            kept.append(c.name)
    return tuple(kept), tuple(left)


def _masks(
    table: Table, resolved: Resolved, told: dict[str, Any], side: int, masks: dict[int, np.ndarray], notes: list[str]
) -> tuple[str, ...]:
    """Fill in the masks by row; returns the names of their classes."""
    from assay.tasks.segmentation import from_masks, from_outlines

    if told["source"] == pictures.MASK:
        keep, found, classes, said = from_masks(table, side)
    else:
        keep, found, classes, said = from_outlines(table, resolved, side)
    masks |= {int(i): m for i, m in zip(keep, found, strict=True)}
    notes += said
    return classes


def _check(y: np.ndarray, pair: tuple[np.ndarray, np.ndarray], heads: list[OneTarget | MaskTarget]) -> None:
    """Every target must be learnable from the training pictures.  Raises DataError."""
    train = [y[i] for i in pair[0]]
    labels = [h for h in heads if isinstance(h, OneTarget)]
    for k, head in enumerate(labels):
        known = [r.labels[k] for r in train if not np.isnan(r.labels[k])]
        if len(set(known)) < 2:
            raise DataError(
                f"the training pictures tell fewer than two different values of {head.name!r}; there is nothing to learn",
                column=head.name, code="single_class_target",
            )  # fmt: skip
    if len(labels) < len(heads) and not any(r.mask is not None for r in train):
        raise DataError(
            "no training picture has a mask; all of them are in the test or validation part", code="too_few_rows"
        )
