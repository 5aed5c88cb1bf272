"""What a forecasting job is about: which columns are series, how far ahead, and how it is judged."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from assay.data.table import ColumnType
from assay.errors import SpecError
from assay.families import for_task
from assay.forecasting.stamps import (
    HORIZONS,
    LEAST_TRAIN,
    USUAL_HORIZON,
    Calendar,
    Irregular,
    infer,
    seasons,
    seconds_of,
)
from assay.metrics import METRICS, for_kind
from assay.spec import ColumnFacts, JobSpec, ProfileFacts, Resolved, column, pick_families, pick_strategy

FOLDS = 4
LEAST_ROWS = 10
LONGEST_HORIZON = 400
_NUMBERS = (ColumnType.NUMBER, ColumnType.INTEGER)
_NO_USE = ("positive_class", "weight_column")


def resolve(spec: JobSpec, profile: ProfileFacts) -> Resolved:
    """Every `auto` decided.  Raises SpecError."""
    task = spec.task
    because: list[str] = []
    for name in _NO_USE:
        if getattr(task, name) is not None:
            raise SpecError(f"forecasting has no use for task.{name}; leave it out", pointer=f"/task/{name}")
    targets = _targets(spec, profile)
    time = _time(spec, profile, targets, because)
    if task.group_column is not None:
        column(profile, task.group_column, "/task/group_column")
        if len(targets) > 1:
            raise SpecError(
                "task.targets (one series a column) and task.group_column (one series a group) exclude each other: "
                "name one target, or no group",
                pointer="/task/group_column",
            )
        if task.group_column in (time.name, targets[0].name):
            raise SpecError(
                f"{task.group_column!r} cannot be both the group and another role", pointer="/task/group_column"
            )
    ahead = _known(spec, profile, {time.name, task.group_column, *(t.name for t in targets)})
    known = {time.name, task.group_column, *(t.name for t in targets), *ahead}
    left_out = []
    for i, name in enumerate(task.ignore_columns):
        column(profile, name, f"/task/ignore_columns/{i}")
    for c in profile.columns:
        if c.name not in known:
            ignored = c.name in task.ignore_columns
            own = "forecasts are made from the series' own past, and from task.known_covariates"
            left_out.append((c.name, "ignored as asked" if ignored else own))
    if profile.n_rows < LEAST_ROWS:
        raise SpecError(
            f"{profile.n_rows} rows are too few to learn from and to judge forecasts by; at least {LEAST_ROWS} are needed",
            pointer="/dataset_id",
            code="too_few_rows",
        )
    calendar = _calendar(time)
    horizon = _horizon(spec, profile, calendar, because)
    if calendar is not None:
        told = " and ".join(map(str, seasons(calendar, time.distinct)))
        because.append(
            f"frequency {calendar.name}, season {told}: from the first stamps; checked when the rows are read"
        )
    metric = spec.objective.metric
    if metric == "auto":
        metric = "mase"
        because.append("metric mase: errors in units of the seasonal naive forecast's")
    if metric not in METRICS or "forecasting" not in METRICS[metric].kinds:
        raise SpecError(
            f"{metric!r} is not a metric for forecasting; known: {', '.join(for_kind('forecasting'))}",
            pointer="/objective/metric",
        )
    if spec.validation.method not in ("auto", "time"):
        raise SpecError(
            f"validation.method {spec.validation.method!r} would learn from the future; forecasting uses time (rolling origins)",
            pointer="/validation/method",
        )
    folds = spec.validation.folds or FOLDS
    because.append(
        f"validation time: {folds} rolling origins, fewer for short histories; the last values are the test part"
    )
    return Resolved(
        task=task.type,
        kind="forecasting",
        target=targets[0].name if len(targets) == 1 else ", ".join(t.name for t in targets),
        metric=metric,
        greater_is_better=METRICS[metric].greater_is_better,
        features=(time.name, *([task.group_column] if task.group_column else []), *ahead),
        left_out=tuple(left_out),
        method="time",
        folds=folds,
        test_fraction=spec.validation.test_fraction,
        seed=spec.validation.seed,
        strategy=pick_strategy(spec),
        families=_families(spec, profile.n_rows, horizon),
        ensemble=spec.search.ensemble,
        lane="gpu" if spec.device == "gpu" else "cpu",
        n_rows=profile.n_rows,
        group_column=task.group_column,
        time_column=time.name,
        because=tuple(because),
        options={
            "horizon": horizon,
            "layout": {
                "time": time.name, "targets": [t.name for t in targets], "group": task.group_column, "known": list(ahead),
            },
            "frequency": None if calendar is None else calendar.name,
        },
    )  # fmt: skip


def _families(spec: JobSpec, n_rows: int, horizon: int) -> tuple[str, ...]:
    picked = pick_families(spec, n_rows, horizon)
    if spec.search.families is None:  # families that need many values say so
        known = for_task("forecasting")
        picked = tuple(f for f in picked if n_rows >= 6 * horizon + getattr(known[f], "least_values", -6 * horizon))
    if spec.search.families is None and "seasonal_naive" in picked:  # a model at once, and the yardstick
        picked = ("seasonal_naive", *(f for f in picked if f != "seasonal_naive"))
    return picked


def _targets(spec: JobSpec, profile: ProfileFacts) -> list[ColumnFacts]:
    task = spec.task
    names = list(task.targets or ())
    if not names and not task.target:
        raise SpecError(
            "forecasting needs task.target, the column to forecast, or task.targets, several in wide form",
            pointer="/task/target",
        )
    if names and task.target and task.target not in names:
        raise SpecError("give either task.target or task.targets", pointer="/task/targets")
    single = not names
    found = []
    for i, name in enumerate(dict.fromkeys(names or [str(task.target)])):
        pointer = "/task/target" if single else f"/task/targets/{i}"
        facts = column(profile, name, pointer, "target_not_found")
        if not _is_numeric(facts):
            told = f"holds {facts.type} values" if _example(facts) is not None else "has no value in any row"
            if facts.type == ColumnType.CONSTANT and _example(facts) is not None:
                told = f"is {str(_example(facts))[:40]!r} in every row"
            raise SpecError(
                f"{name!r} {told}, and forecasting needs numbers; set the column's type to number if they are",
                pointer=pointer,
            )
        found.append(facts)
    return found


def _known(spec: JobSpec, profile: ProfileFacts, roles: set[str | None]) -> tuple[str, ...]:
    """The columns whose future is known.  Raises SpecError."""
    found = tuple(dict.fromkeys(spec.task.known_covariates))
    for i, name in enumerate(found):
        pointer = f"/task/known_covariates/{i}"
        facts = column(profile, name, pointer)
        if name in roles:
            raise SpecError(f"{name!r} cannot be both known ahead and another role", pointer=pointer)
        if facts.type not in _NUMBERS:
            raise SpecError(
                f"{name!r} holds {facts.type} values; columns that are known ahead hold numbers: write what is true or not "
                "as 1 and 0",
                pointer=pointer,
            )
    return found


def _time(spec: JobSpec, profile: ProfileFacts, targets: list[ColumnFacts], because: list[str]) -> ColumnFacts:
    name = spec.task.time_column
    if name is not None:
        facts = column(profile, name, "/task/time_column")
        if name in {t.name for t in targets}:
            raise SpecError(f"{name!r} cannot be both the time and what is forecast", pointer="/task/time_column")
        if (
            facts.type not in (ColumnType.DATETIME, *_NUMBERS)
            and isinstance(_example(facts), str)
            and not _is_date(facts)
        ):
            raise SpecError(
                f"{name!r} holds {facts.type} values such as {str(_example(facts))[:40]!r}; a time column holds dates or whole "
                "numbers; set the column's type to datetime",
                pointer="/task/time_column",
            )
        return facts
    dates = [c for c in profile.columns if c.type == ColumnType.DATETIME]
    if len(dates) != 1:
        told = ", ".join(repr(c.name) for c in dates) or "no column of dates"
        raise SpecError(f"forecasting needs task.time_column; the dataset has {told}", pointer="/task/time_column")
    because.append(f"time column {dates[0].name!r}: the only column of dates")
    return dates[0]


def _horizon(spec: JobSpec, profile: ProfileFacts, calendar: Calendar | None, because: list[str]) -> int:
    asked = spec.task.horizon
    if asked is None:
        horizon = USUAL_HORIZON if calendar is None else HORIZONS.get(calendar.name, USUAL_HORIZON)
        told = f"usual for {'stamps of no known step' if calendar is None else calendar.name}"
        group = spec.task.group_column
        n = profile.n_rows if group is None else profile.n_rows // max(1, column(profile, group, "").distinct)
        most = max(1, (n - LEAST_TRAIN) // 3)  # one to learn from before each of two that judge, and the test part
        if horizon > most:
            horizon, told = most, f"{horizon} would be {told}, and series of {n} values allow no more"
        because.append(f"horizon {horizon}: {told}")
        return horizon
    if isinstance(asked, bool) or not 1 <= asked <= LONGEST_HORIZON:
        raise SpecError(
            f"task.horizon must lie between 1 and {LONGEST_HORIZON}, not {asked!r}", pointer="/task/horizon"
        )
    return int(asked)


def _calendar(facts: ColumnFacts) -> Calendar | None:
    """What the profile's few values tell: the first stamps of dates, the range of numbers."""
    told: Any = getattr(facts, "statistics", None) or {}
    top = [v["value"] for v in told.get("top", [])]
    try:
        if top and isinstance(top[0], str):
            return infer([np.unique(seconds_of(top))], numbers=False)
        if "min" in told and facts.distinct > 1:
            step = (told["max"] - told["min"]) / (facts.distinct - 1)
            return infer([np.array([told["min"], told["min"] + max(1, round(step))])], numbers=True)
    except (Irregular, ValueError):
        return None
    return None


def _is_date(facts: ColumnFacts) -> bool:
    try:
        return len(seconds_of([str(_example(facts))])) == 1
    except ValueError:
        return False


def _is_numeric(facts: ColumnFacts) -> bool:
    example = _example(facts)
    if facts.type == ColumnType.CONSTANT and example is not None:
        try:
            return math.isfinite(float(str(example).replace(",", ".")))
        except ValueError:
            return False
    return (facts.type in _NUMBERS or isinstance(example, (int, float))) and not isinstance(example, str)


def _example(facts: ColumnFacts) -> Any:
    return getattr(facts, "example", None)
