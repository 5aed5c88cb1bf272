"""The training child: a warm process of its own session that does one piece of work at a time and knows no secrets.

It is forked from a server process that has imported the libraries, keeps prepared data between trials, and dies with its
worker: the whole process group goes when the worker's end of the life line closes.
"""

from __future__ import annotations

import faulthandler
import json
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from assay.errors import AssayError, OutOfMemory, TrialStopped, UserError
from workers import wire

KEPT_PROBLEMS = 2
REPORT_EVERY = 0.1  # seconds between reports that are passed on; the last of a fold always is


def main(pipe: Connection, log_path: str, threads: int) -> None:
    """Serve requests until the pipe closes."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the worker, which decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    faulthandler.enable(file=2)
    _limit_threads(threads)
    work = Work(pipe, threads)
    wire.send(pipe, {"ready": True})
    while True:
        try:
            request = wire.receive(pipe)
        except (EOFError, OSError):
            return
        if request["do"] == "stop":
            continue  # meant for work that has ended meanwhile
        os.ftruncate(log, 0)
        wire.send(pipe, work.answer(request))


class Work:
    """The requests a child answers, with the data it keeps between them."""

    def __init__(self, pipe: Connection, threads: int) -> None:
        self.pipe = pipe
        self.threads = threads
        self.problems: OrderedDict[str, Any] = OrderedDict()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """{"done": result} or {"failed": {...}} or {"stopped": true}; never raises."""
        steps: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "trial": self.trial,
            "build": self.build,
            "validate": self.validate,
            "predict": self.predict,
            "warm": self.warm,
        }
        try:
            return {"id": request["id"], "done": steps[request["do"]](request)}
        except TrialStopped:
            return {"id": request["id"], "stopped": True}
        except MemoryError:
            return {"id": request["id"], "failed": _failure(OutOfMemory("the trial ran out of memory"))}
        except Exception as error:
            return {"id": request["id"], "failed": _failure(error)}

    def warm(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"pid": os.getpid(), "environment": sorted(os.environ)}

    def trial(self, request: dict[str, Any]) -> dict[str, Any]:
        from assay.families import discover
        from assay.tasks import discover as tasks
        from assay.training.evaluate import Request

        family = discover().get(request["family"])
        if family is None:
            raise UserError(f"family {request['family']!r} is not installed on this worker")
        began = time.monotonic()
        matrices = self.matrices(request["problem"])
        warnings = self.warnings(request["problem"]) if request["number"] == 0 else []
        spent = time.monotonic() - began  # the first trial of a job reads and decodes its data within its own time
        result = tasks()[matrices.problem.resolved.task].evaluate(
            matrices,
            Request(
                family=family,
                config=request["config"],
                seed=request["seed"],
                path=Path(request["path"]),
                tell=self._teller(request["id"], family.name),
                seconds=max(0.1, request["seconds"] - spent),
                device=request["device"],
                threads=self.threads,
                info={"number": request["number"]},
            ),
        )
        return {
            "score": result.score,
            "score_std": result.score_std,
            "fold_scores": list(result.fold_scores),
            "metrics": dict(result.metrics),
            "seconds": result.seconds,
            "predict_ms_per_row": result.predict_ms_per_row,
            "size_bytes": result.size_bytes,
            "warnings": warnings,
        }

    def build(self, request: dict[str, Any]) -> dict[str, Any]:
        from assay.model.deliver import Source
        from assay.tasks import discover as tasks

        matrices = self.matrices(request["problem"])
        sources = [Source(s["number"], s["family"], s["score"], Path(s["path"])) for s in request["sources"]]
        return (
            tasks()[matrices.problem.resolved.task]
            .deliver(
                matrices.problem,
                sources,
                Path(request["folder"]),
                ensemble=request["ensemble"],
                info=request["info"],
                formats=request["formats"],
                seconds=request["seconds"],
            )
            .to_json()
        )

    def validate(self, request: dict[str, Any]) -> dict[str, Any]:
        from assay.data.intake import intake

        return intake(
            Path(request["path"]),
            Path(request["table"]),
            name=request["name"],
            format=request["format"],
            overrides=request["overrides"],
        )

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        from assay.model.predict import predict_table_file

        return predict_table_file(Path(request["bundle"]), Path(request["table"]), Path(request["out"]))

    def warnings(self, problem: dict[str, Any]) -> list[dict[str, Any]]:
        """What the owner of the data should know of the task, told with the first trial of a job."""
        import numpy as np

        from assay.data.drift import about_parts
        from assay.data.table import Table
        from assay.spec import Resolved
        from assay.tasks import discover as tasks
        from assay.tasks._problem import Problem

        resolved = Resolved.from_json(problem["resolved"])
        told = tasks()[resolved.task].warnings(Table.read(Path(problem["paths"][0])), resolved)
        prepared = self.matrices(problem).problem
        told += [{"code": "validation_changed", "column": None, "message": note} for note in prepared.notes]
        if isinstance(prepared, Problem):
            train = np.unique(np.concatenate([np.concatenate(pair) for pair in prepared.folds.pairs]))
            told += [w.to_json() for w in about_parts(prepared.features, train, prepared.folds.test)]
        return told

    def matrices(self, problem: dict[str, Any]) -> Any:
        """The prepared problem, kept by the content hash of its table and what was resolved."""
        key = json.dumps([problem["sha256"], problem["resolved"]], sort_keys=True)
        if key not in self.problems:
            from assay.data import shelf
            from assay.data.join import stacked
            from assay.data.table import Table
            from assay.spec import Resolved
            from assay.tasks import discover
            from assay.training.evaluate import Matrices

            resolved = Resolved.from_json(problem["resolved"])
            shelf.use(Path(problem["shelf"]) if "shelf" in problem else None)
            tables = [Table.read(Path(path)) for path in problem["paths"]]
            if len(tables) > 1:
                used = {resolved.target, *resolved.features, resolved.group_column, resolved.time_column}
                used |= {t["name"] for t in resolved.options.get("targets", ())} | set(
                    resolved.options.get("reads", ())
                )
                tables[0] = tables[0].select([n for n in tables[0].names if n in used | {resolved.weight_column}])
            table = (
                tables[0]
                if len(tables) == 1
                else stacked(tables, ["the dataset", "a given part", "a given part"][: len(tables)])
            )
            self.problems[key] = Matrices(discover()[resolved.task].prepare(table, resolved))
            while len(self.problems) > KEPT_PROBLEMS:
                self.problems.popitem(last=False)
        self.problems.move_to_end(key)
        return self.problems[key]

    def _teller(self, request_id: str, family: str) -> Callable[[int, float], None]:
        last = 0.0

        def tell(step: int, score: float) -> None:
            nonlocal last
            while self.pipe.poll(0):
                message = wire.receive(self.pipe)
                if message["do"] == "stop" and message["id"] == request_id:
                    raise TrialStopped
            now = time.monotonic()
            if now - last >= REPORT_EVERY:
                last = now
                wire.send(self.pipe, {"id": request_id, "report": [step, score]})

        return tell


def _failure(error: BaseException) -> dict[str, Any]:
    known = isinstance(error, AssayError)
    return {
        "code": getattr(error, "code", "internal") if known else "trial_failed",
        "message": str(error) or type(error).__name__ if known else f"{type(error).__name__}: {error}",
        "user": isinstance(error, UserError),
        "row": getattr(error, "row", None),
        "column": getattr(error, "column", None),
        "traceback": traceback.format_exc(limit=-12),
    }


def _die_with_parent() -> None:
    """The worker may be killed without a word; its children must not train on as orphans."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os.killpg(0, signal.SIGKILL)


def _limit_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
