"""The library's way in: the same plan, the same search and the same model as the service, in this process."""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.errors import AssayError, DataError, SpecError, TrialStopped
from assay.families import discover as families
from assay.families import spaces_of
from assay.metrics import METRICS
from assay.search.advance import advance, judge
from assay.search.lifecycle import ENDED, JobStatus
from assay.search.plan import JobSnapshot, search_seconds_left
from assay.search.store import Claim, InMemoryStore, Outcome
from assay.search.trial import Report, TrialStatus, Verdict
from assay.spec import (
    Budget,
    JobSpec,
    Objective,
    SearchSpec,
    TaskSpec,
    Validation,
    learnt_rows,
    limits_of,
    resolve,
    search_facts,
)

if TYPE_CHECKING:
    from assay.data.loaded import Loaded
    from assay.model.predict import Model
    from assay.training.evaluate import Matrices

CLASS_LIMIT = 20  # whole numbers with more distinct values than this are taken for amounts
JOB = "fit"
BUILD_SECONDS, LEAST_BUILD = 60.0, 3.0  # of a last build without a time limit, and of one that is late


def fit(
    data: Any,
    target: str | None = None,
    *,
    seconds: float | None = None,
    task: str = "auto",
    metric: str = "auto",
    quantiles: Sequence[float] | None = None,
    trials: int | None = None,
    strategy: str = "auto",
    families: Sequence[str] | None = None,
    optimizers: Sequence[str] | None = None,
    ensemble: bool = True,
    validation: Validation | None = None,
    seed: int = 0,
    threads: int = 1,
    progress: Callable[[JobSnapshot], None] | None = None,
    **task_options: Any,
) -> Model:
    """Search for the best model of `target` (None: the task needs none, or has a usual one) and return it.

    data: a path (CSV, TSV, Parquet, Arrow, JSONL, XLSX; gz and zip too), a pandas DataFrame, or a `Table`.
    seconds: wall-clock budget, packaging included; 60 where neither it nor trials is given.  trials: a budget in trials,
    with which the same call gives the same model (as long as there are 10 seconds a trial, or no time limit).  task: a task type (`assay.tasks.discover()`), or "auto" for classification or regression: from the metric, the
    target's type and its distinct values.
    quantiles: of a regression that predicts them, such as [0.05, 0.5, 0.95].
    optimizers: what families that search their optimizer may use.
    families, strategy, metric: as in the catalogue (`assay.families.discover()`, `assay.metrics.METRICS`).
    task_options: `targets`, `ignore_columns`, `positive_class`, `group_column`, `time_column`, `weight_column`, `horizon`,
    `known_covariates`, `monotone`.
    progress: called with a snapshot after every trial.

    Raises SpecError or DataError for what the caller can mend, AssayError when no trial completed.
    """
    started = time.monotonic()
    loaded = _load(data)
    profile = _profile(loaded, target)
    spec = JobSpec(
        task=TaskSpec(
            type=_task_type(task, metric if quantiles is None else "pinball", target, profile),
            target=target,
            **_tuples(task_options),
        ),
        objective=Objective(metric, None if quantiles is None else tuple(quantiles)),
        validation=validation or Validation(seed=seed),
        limits=Budget(time_seconds=60.0 if seconds is None and trials is None else seconds, trials=trials),
        search=SearchSpec(strategy, _names(families), _names(optimizers), ensemble),
    )
    resolved = resolve(spec, profile)
    with tempfile.TemporaryDirectory(prefix="assay-fit-") as folder:
        loop = _Loop(loaded, spec, resolved, Path(folder), threads, started, progress)
        return loop.run()


class _Loop:
    """plan -> run -> apply on a store in memory, one piece of work after the other."""

    def __init__(
        self,
        loaded: Loaded,
        spec: JobSpec,
        resolved: Any,
        folder: Path,
        threads: int,
        started: float,
        progress: Callable[[JobSnapshot], None] | None,
    ) -> None:
        from assay.tasks import discover
        from assay.training.evaluate import Matrices

        self.loaded = loaded
        self.resolved = resolved
        self.folder = folder
        self.threads = threads
        self.progress = progress
        self.task = discover()[resolved.task]
        self.matrices: Matrices = Matrices(self.task.prepare(loaded.table, resolved))
        self.model: Model | None = None
        self.store = InMemoryStore(time.monotonic)
        used = time.monotonic() - started
        limits = limits_of(spec.limits, resolved.greater_is_better)
        if limits.time_seconds is not None:  # reading the data is part of the budget
            limits = type(limits)(**{**vars(limits), "time_seconds": max(1.0, limits.time_seconds - used)})
        problem = self.matrices.problem
        facts = {
            "kind": resolved.kind,
            "n_rows": learnt_rows(len(problem.y), resolved.options),
            "n_features": len(resolved.features),
            "n_classes": problem.target.n_classes,
            "n_folds": len(problem.folds),
            "perfect": METRICS[resolved.metric].perfect,
            **search_facts(resolved.options),
        }
        spaces = spaces_of(resolved.families, resolved.options.get("optimizers"))
        self.store.add(
            JobSnapshot(
                id=JOB, status=JobStatus.QUEUED, revision=0, seed=resolved.seed, strategy=resolved.strategy, limits=limits,
                spaces=spaces, trials=(), builds=(), elapsed=0.0, ensemble=resolved.ensemble, lane=resolved.lane, facts=facts,
            )
        )  # fmt: skip

    def run(self) -> Model:
        while True:
            advance(self.store, JOB)
            snapshot = self.store.snapshot(JOB)
            if self.progress is not None:
                self.progress(snapshot)
            claim = self.store.claim("fit", self.resolved.lane, sys.maxsize)
            if claim is None:
                if snapshot.status in ENDED:
                    break
                continue
            if claim.kind == "build":
                self._build(claim)
            else:
                self._trial(claim)
        if self.model is None:
            raise AssayError(self.store.ending(JOB)[1] or "no model could be built")
        return self.model

    def _trial(self, claim: Claim) -> None:
        from assay.training.evaluate import Request

        snapshot = self.store.snapshot(JOB)
        limit = min(search_seconds_left(snapshot), snapshot.limits.trial_seconds or float("inf"))

        def tell(step: int, score: float) -> None:
            report = Report(step, score)
            self.store.report(claim, report)
            now = self.store.snapshot(JOB)
            trial = next(t for t in now.trials if t.number == claim.number)
            if judge(now, trial, report) is Verdict.STOP:
                raise TrialStopped

        began = time.monotonic()
        path = self.folder / f"{claim.number}.safetensors"
        try:
            found = self.task.evaluate(
                self.matrices,
                Request(
                    family=families()[claim.payload["family"]],
                    config=claim.payload["config"],
                    seed=(snapshot.seed * 1_000_003 + claim.number) % (2**31 - 1),
                    path=path,
                    tell=tell,
                    seconds=max(0.1, limit),
                    threads=self.threads,
                    info={"number": claim.number},
                ),
            )
            outcome = Outcome(
                TrialStatus.COMPLETED, score=found.score, score_std=found.score_std, fold_scores=found.fold_scores,
                seconds=found.seconds, metrics=found.metrics, predict_ms_per_row=found.predict_ms_per_row,
                size_bytes=found.size_bytes, artifact=str(path),
            )  # fmt: skip
        except TrialStopped:
            outcome = Outcome(TrialStatus.STOPPED, seconds=time.monotonic() - began)
        except Exception as error:
            known = isinstance(error, AssayError)
            details = {
                "code": error.code if isinstance(error, AssayError) else "trial_failed",
                "message": str(error) if known else f"{type(error).__name__}: {error}",
                "traceback": traceback.format_exc(limit=-12),
            }
            outcome = Outcome(TrialStatus.FAILED, seconds=time.monotonic() - began, error=details)
        self.store.finish(claim, outcome)

    def _build(self, claim: Claim) -> None:
        from assay.model.deliver import Source
        from assay.model.predict import load

        if not claim.payload["final"]:  # nobody can fetch an early model while fit is running
            self.store.finish_build(claim, None, 0.0, None)
            return
        began = time.monotonic()
        snapshot = self.store.snapshot(JOB)
        outcomes = self.store.outcomes(JOB)
        sources = [
            Source(t.number, t.family, t.score, Path(str(outcomes[t.number].artifact)))
            for t in sorted(snapshot.completed, key=lambda t: -(t.score or 0.0))
            if t.score is not None
        ]
        formats = {name: f.to_json() for name, f in self.loaded.formats.items()}
        out = self.folder / "model"
        out.mkdir(exist_ok=True)
        built = self.task.deliver(
            self.matrices.problem, sources, out, ensemble=self.resolved.ensemble,
            info={"job_id": "", "name": "model", "threads": self.threads, "counted": snapshot.counted},
            formats=formats, seconds=_left(snapshot),
        )  # fmt: skip
        self.model = load(out / built.bundle)
        self.store.finish_build(claim, "model", time.monotonic() - began, None)


def _left(snapshot: JobSnapshot) -> float:
    """Seconds for a last build: what the search has left of the limit."""
    limit = snapshot.limits.time_seconds
    return BUILD_SECONDS if limit is None else max(LEAST_BUILD, limit - snapshot.elapsed)


def _load(data: Any) -> Loaded:
    from assay.data.loaded import Loaded
    from assay.data.readers import read
    from assay.data.table import Table

    if isinstance(data, Loaded):
        return data
    if isinstance(data, Table):
        return Loaded(data, {})
    if isinstance(data, (str, Path)):
        path = Path(data)
        if not path.exists():
            raise DataError(f"there is no file {path}", file=str(path))
        return read(path)
    if type(data).__module__.split(".")[0] == "pandas":
        from assay.data.readers import from_pandas

        return from_pandas(data)
    raise DataError(f"fit reads a path, a pandas DataFrame or a Table, not {type(data).__name__}")


def _profile(loaded: Loaded, target: str | None) -> Any:
    from assay.data.profile import profile

    return profile(loaded.table, target if target in loaded.table.names else None)


def _task_type(task: str, metric: str, target: str | None, profile: Any) -> str:
    """From the metric where one is named, else from the target's type and cardinality."""
    if task != "auto":
        return task
    if target is None:
        raise SpecError("name the target, or a task that needs none, such as task='clustering'", pointer="/task/target")
    if metric in METRICS:
        return "regression" if METRICS[metric].kinds & {"regression", "quantile"} else "classification"
    column = next((c for c in profile.columns if c.name == target), None)
    if column is None or column.type not in ("number", "integer", "id"):
        return "classification"
    return "classification" if column.type == "integer" and column.distinct <= CLASS_LIMIT else "regression"


def _names(values: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


def _tuples(options: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
