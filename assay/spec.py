"""What a user asks for (`JobSpec`) and what is made of it (`Resolved`): every `auto` decided and shown."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Protocol, TypeVar

from assay.errors import SpecError
from assay.search.plan import Limits

MIN_ROWS = 10  # usable rows below which nothing honest can be validated
REFITTED = "of the time is kept to train nets of what was chosen on all annotated pictures"
T = TypeVar("T")


@dataclass(frozen=True)
class TaskSpec:
    type: str
    target: str | None = None
    targets: tuple[Any, ...] | None = None  # names of columns, or objects that say more of each
    positive_class: str | None = None
    ignore_columns: tuple[str, ...] = ()
    group_column: str | None = None
    time_column: str | None = None
    weight_column: str | None = None
    horizon: int | None = None
    known_covariates: tuple[str, ...] = ()  # columns of numbers whose values are known for the horizon
    monotone: Mapping[str, str] | None = None  # column -> "increasing" or "decreasing"


@dataclass(frozen=True)
class Objective:
    """quantiles: of a regression that predicts them; None: none, or the usual ones where the metric asks for some."""

    metric: str = "auto"
    quantiles: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Validation:
    """folds None: chosen by the number of rows.

    refit: after its folds, a configuration is also trained on all rows, the test part's among them, and answers with
    both; what is measured is measured on the folds' models alone.
    """

    method: str = "auto"
    folds: int | None = None
    test_fraction: float = 0.1
    seed: int = 0
    refit: bool = True


@dataclass(frozen=True)
class Budget:
    """Limits of a job as users write them; `target_score` is a metric value, as people know it."""

    time_seconds: float | None = 600.0
    trials: int | None = None
    trial_seconds: float | None = None
    concurrent_trials: int | None = None
    memory_mb: int | None = None
    patience_trials: int | None = None
    target_score: float | None = None
    predict_ms_per_row: float | None = None
    model_mb: float | None = None


@dataclass(frozen=True)
class SearchSpec:
    strategy: str = "auto"
    families: tuple[str, ...] | None = None
    optimizers: tuple[str, ...] | None = None
    ensemble: bool = True


@dataclass(frozen=True)
class JobSpec:
    """One request for a model, without the data."""

    task: TaskSpec
    objective: Objective = field(default_factory=Objective)
    validation: Validation = field(default_factory=Validation)
    limits: Budget = field(default_factory=Budget)
    search: SearchSpec = field(default_factory=SearchSpec)
    device: str = "auto"

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> JobSpec:
        """From the parts of a job request that concern the search.  Raises SpecError naming the field."""
        if "task" not in data or not isinstance(data["task"], Mapping) or "type" not in data["task"]:
            raise SpecError("a job needs task.type, for example 'classification'", pointer="/task/type")
        return JobSpec(
            task=_read(TaskSpec, data["task"], "/task"),
            objective=_read(Objective, data.get("objective") or {}, "/objective"),
            validation=_read(Validation, data.get("validation") or {}, "/validation"),
            limits=_read(Budget, data.get("limits") or {}, "/limits"),
            search=_read(SearchSpec, data.get("search") or {}, "/search"),
            device=str(data.get("device") or "auto"),
        )


@dataclass(frozen=True)
class Resolved:
    """A checked, complete job: what will really be done.  JSON in, JSON out; stored with the job."""

    task: str
    kind: str
    target: str
    metric: str
    greater_is_better: bool
    features: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]  # (column, why)
    method: str
    folds: int
    test_fraction: float
    seed: int
    strategy: str
    families: tuple[str, ...]
    ensemble: bool
    lane: str
    n_rows: int  # with a target
    n_classes: int = 0
    positive_class: str | None = None
    group_column: str | None = None
    time_column: str | None = None
    weight_column: str | None = None
    refit: bool = True
    because: tuple[str, ...] = ()  # every choice made for the user, in words
    options: Mapping[str, Any] = field(default_factory=dict)  # what one kind of task decides besides, JSON-able

    def to_json(self) -> dict[str, Any]:
        body = asdict(self)
        body["left_out"] = [{"column": c, "reason": why} for c, why in self.left_out]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in body.items()}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Resolved:
        known = {f.name for f in fields(Resolved)}
        body: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k in known}
        body["left_out"] = tuple((e["column"], e["reason"]) for e in data["left_out"])
        return Resolved(**body)


def picture_side(options: Mapping[str, Any]) -> int:
    """Side in pixels that a task decided to decode pictures at, from `Resolved.options`; 0 where there are none."""
    return int(options.get("image_size") or options.get("side") or 0)


def text_chars(options: Mapping[str, Any]) -> float:
    """Characters of a row's texts on average, from `Resolved.options`; 0 where there are none or it is not known."""
    return float(options.get("chars", 0.0))


def refit_share(options: Mapping[str, Any]) -> float:
    """Share of a job's time that its task keeps for training on all rows what was chosen, from `Resolved.options`."""
    return float(options.get("refit_share", 0.0))


def search_facts(options: Mapping[str, Any]) -> dict[str, float]:
    """What of `Resolved.options` a search has to know of a job, by the names in `JobSnapshot.facts`.

    side: of pictures, in pixels.  chars: of a row's texts.  refit: share of the time kept for training on all rows.  worth:
    share of the best trial's time with which another trial is still worth beginning.
    """
    return {
        "side": picture_side(options),
        "chars": text_chars(options),
        "refit": refit_share(options),
        "worth": float(options.get("worth_share", 0.0)),
    }


def learnt_rows(n: int, options: Mapping[str, Any]) -> int:
    """Of n rows with a target, those that are not of a test part which the data itself names."""
    return max(1, n - int(options.get("tested", 0)))


class ColumnFacts(Protocol):
    """What resolving needs of a column's profile."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def missing(self) -> int: ...
    @property
    def distinct(self) -> int: ...


class ProfileFacts(Protocol):
    """What resolving needs of a dataset's profile."""

    @property
    def n_rows(self) -> int: ...
    @property
    def columns(self) -> Sequence[ColumnFacts]: ...


def resolve(spec: JobSpec, profile: ProfileFacts) -> Resolved:
    """Decide every `auto` and check every name against the data.  Raises SpecError with pointer and code."""
    from assay.tasks import discover

    check_numbers(spec)
    tasks = discover()
    if spec.task.type not in tasks:
        raise SpecError(f"{spec.task.type!r} is not a task type here; known: {', '.join(tasks)}", pointer="/task/type")
    if spec.objective.quantiles is not None and spec.task.type != "regression":
        raise SpecError(
            f"objective.quantiles is for task.type 'regression'; {spec.task.type} has no use for it",
            pointer="/objective/quantiles",
        )
    return _with_optimizers(spec, replace(tasks[spec.task.type].resolve(spec, profile), refit=spec.validation.refit))


def _with_optimizers(spec: JobSpec, resolved: Resolved) -> Resolved:
    """Only the asked optimizers, and no family that knows none of them."""
    from assay.families import spaces_of

    wanted = spec.search.optimizers
    if wanted is None:
        return resolved
    if not wanted:
        raise SpecError("search.optimizers is empty; name one or leave it out for all", pointer="/search/optimizers")
    try:
        kept = tuple(spaces_of(resolved.families, wanted))
    except ValueError as error:
        raise SpecError(str(error), pointer="/search/optimizers") from None
    if not kept:
        raise SpecError(f"no family of this job trains with {', '.join(wanted)}", pointer="/search/optimizers")
    because = (
        *resolved.because,
        f"optimizers {', '.join(wanted)}: as asked, for every family that searches its optimizer",
    )
    return replace(resolved, families=kept, options={**resolved.options, "optimizers": list(wanted)}, because=because)


def with_parts(resolved: Resolved, train: int, validation: int | None, test: int | None) -> Resolved:
    """The same for rows that the user divided: `validation` rows judge every trial, `test` rows the model."""
    if validation is None and test is None:
        return resolved
    parts = {"train": train, "validation": validation or 0, "test": test or 0}
    because = list(resolved.because)
    changes: dict[str, Any] = {}
    if validation is not None:
        because = [b for b in because if not b.startswith(("validation ", f"{resolved.folds} folds"))]
        because.append(f"validation holdout: the {validation} rows of the validation dataset")
        changes |= {"method": "holdout", "folds": 1}
    if test is not None:
        because.append(f"test part: the {test} rows of the test dataset")
    changes["test_fraction"] = 0.0
    options = {**resolved.options, "parts": parts}
    if options.pop("refit_share", 0.0):  # what the user set apart is never learned from
        because = [b for b in because if REFITTED not in b]
    return replace(resolved, because=tuple(because), options=options, **changes)


def column(profile: ProfileFacts, name: str, pointer: str, code: str = "validation_error") -> ColumnFacts:
    """The profile of a named column.  Raises SpecError with the closest name."""
    for c in profile.columns:
        if c.name == name:
            return c
    names = [c.name for c in profile.columns]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"closest: {close[0]!r}" if close else f"columns: {', '.join(map(repr, names[:10]))}"
    raise SpecError(f"{name!r} is not a column of the dataset; {hint}", pointer=pointer, code=code)


def limits_of(budget: Budget, greater_is_better: bool) -> Limits:
    """The user's budget on the internal scale."""
    target = budget.target_score
    values = {f.name: getattr(budget, f.name) for f in fields(Budget)}
    values["target_score"] = None if target is None else (target if greater_is_better else -target)
    return Limits(**values)


def check_numbers(spec: JobSpec) -> None:
    """Ranges that do not depend on the data."""
    for f in fields(Budget):
        value = getattr(spec.limits, f.name)
        if value is None or f.name == "target_score":
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise SpecError(
                f"limits.{f.name} must be a positive number or null, not {value!r}", pointer=f"/limits/{f.name}"
            )
    if spec.limits.time_seconds is None and spec.limits.trials is None:
        raise SpecError("give the job an end: limits.time_seconds or limits.trials", pointer="/limits")
    v = spec.validation
    if v.method not in ("auto", "cv", "holdout", "group", "time"):
        raise SpecError(
            f"{v.method!r} is not a validation method; known: auto, cv, holdout, group, time",
            pointer="/validation/method",
        )
    if v.folds is not None and not 2 <= v.folds <= 50:
        raise SpecError(f"validation.folds must lie between 2 and 50, not {v.folds!r}", pointer="/validation/folds")
    if not 0 <= v.test_fraction <= 0.5:
        raise SpecError(
            f"validation.test_fraction must lie between 0 and 0.5, not {v.test_fraction!r}",
            pointer="/validation/test_fraction",
        )
    if spec.device not in ("auto", "cpu", "gpu"):
        raise SpecError(f"{spec.device!r} is not a device; known: auto, cpu, gpu", pointer="/device")


def pick_families(spec: JobSpec, n_rows: int, n_features: int, n_classes: int = 0) -> tuple[str, ...]:
    """Names of the families to search: in the user's order, else cheap ones first, so that a model is there at once.

    A family with a `rank` below 0 comes before them, cheap or not.  Raises SpecError for unknown names.
    """
    from assay.families import Shape, for_task

    known = for_task(spec.task.type)
    if not known:
        raise SpecError(
            f"no installed family serves {spec.task.type!r}", pointer="/task/type", code="capacity_unavailable"
        )
    if spec.search.families is None:
        shape = Shape(n_rows, n_features, n_classes)
        usual = [name for name in known if getattr(known[name], "by_default", True)]  # others when they are named

        def order(name: str) -> tuple[int, float]:
            return getattr(known[name], "rank", 0), known[name].cost(known[name].Config(), shape).seconds

        return tuple(sorted(usual, key=order))
    for i, name in enumerate(spec.search.families):
        if name not in known:
            close = difflib.get_close_matches(name, list(known), n=1)
            hint = f"closest: {close[0]!r}" if close else f"known: {', '.join(known)}"
            raise SpecError(f"{name!r} is not a family for {spec.task.type}; {hint}", pointer=f"/search/families/{i}")
    if not spec.search.families:
        raise SpecError("search.families is empty; name one or leave it out for all", pointer="/search/families")
    return tuple(dict.fromkeys(spec.search.families))


def pick_strategy(spec: JobSpec) -> str:
    from assay.search.strategies import discover

    known = discover()
    if spec.search.strategy not in known:
        close = difflib.get_close_matches(spec.search.strategy, list(known), n=1)
        hint = f"closest: {close[0]!r}" if close else f"known: {', '.join(known)}"
        raise SpecError(f"{spec.search.strategy!r} is not a strategy; {hint}", pointer="/search/strategy")
    return spec.search.strategy


def reopened(limits: Limits, changes: Mapping[str, Any], greater_is_better: bool) -> Limits:
    """The limits of a job after a PATCH; unnamed ones stay."""
    known = {f.name for f in fields(Limits)}
    clean = {k: v for k, v in changes.items() if k in known}
    if clean.get("target_score") is not None and not greater_is_better:
        clean["target_score"] = -clean["target_score"]
    return replace(limits, **clean)


def _read(cls: type[T], data: Mapping[str, Any], pointer: str) -> T:
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    for name in data:
        if name not in known:
            close = difflib.get_close_matches(name, list(known), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
            raise SpecError(f"{name!r} is not a field of {pointer[1:]}{hint}", pointer=f"{pointer}/{name}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return cls(**values)
