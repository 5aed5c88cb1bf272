"""Draw samples from a delivered generator: python generate.py N [answers] [--seed S] [--set column=value].

Reads model.onnx and manifest.json beside it; needs numpy and onnxruntime.  The graph turns random numbers into samples,
this file makes the numbers: the same seed gives the same samples, and the first ten of a hundred are those of ten.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

Run = Callable[[Sequence[str], Mapping[str, np.ndarray]], Sequence[Any]]  # output names and feeds -> outputs

ROWS_AT_ONCE, PICTURES_AT_ONCE, LOOPED_AT_ONCE = 2048, 64, 256
TRIES = 200  # samples looked at for each one wanted, before a condition counts as too rare
LEAST_TRIES = 100_000


class ConditionError(ValueError):
    """A condition that cannot be met."""


def draw(run: Run, spec: Mapping[str, Any], n: int, seed: int, condition: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """n samples.  Rows: by column, float64 (NaN is missing) or text ("" is missing).  Pictures: `image`, uint8
    (n, S, S, 3), and the condition column.

    spec: `info.generation` of the manifest.  condition: column -> value, or {"min": a, "max": b} for numbers.  The
    condition column is fed to the graph; others are met by drawing until they are.  Raises ConditionError.
    """
    given, checks = _conditions(spec, condition)
    rng = np.random.default_rng(seed)
    kept: list[dict[str, np.ndarray]] = []
    found = looked = 0
    while found < n:
        batch = _batch(run, spec, rng, given, n - found if not checks else 1 << 30)
        size = len(next(iter(batch.values())))
        looked += size
        rows = np.ones(size, bool)
        for name, fits in checks.items():
            rows &= fits(batch[name])
        kept.append({k: v[rows] for k, v in batch.items()})
        found += int(rows.sum())
        if found < n and looked > max(LEAST_TRIES, TRIES * n) * (1 if found else 0.2):
            told = ", ".join(f"{k} = {condition[k]!r}" for k in checks)
            raise ConditionError(
                f"{told} is too rare: {found} of {looked} samples met it, {n} were asked for; make the column the task's "
                "target, so that it is a condition of the model, or ask for fewer"
            )
    if not kept:
        return {k: v[:0] for k, v in _batch(run, spec, rng, given, 1).items()}
    return {k: np.concatenate([b[k] for b in kept])[:n] for k in kept[0]}


def _batch(run: Run, spec: Mapping[str, Any], rng: np.random.Generator, given: int, most: int) -> dict[str, np.ndarray]:
    """The next samples; random numbers are always drawn for a whole batch, so that n does not change them."""
    pictures = LOOPED_AT_ONCE if spec.get("loop") else PICTURES_AT_ONCE
    whole = ROWS_AT_ONCE if spec["data"] == "rows" else pictures
    names, size = spec["inputs"], min(whole, most)
    feeds: dict[str, np.ndarray] = {}
    if "noise" in names:
        feeds[names["noise"]["name"]] = rng.standard_normal((whole, names["noise"]["width"]), np.float32)[:size]
    uniform = rng.random((whole, names["uniform"]["width"]), np.float32)[:size]
    feeds[names["uniform"]["name"]] = uniform
    if "given" in names:
        feeds[names["given"]["name"]] = np.full(size, given, np.int64)
    if spec["data"] == "rows":
        outputs = run([c["output"] for c in spec["columns"]], feeds)
        return {c["name"]: read(np.asarray(v), c) for c, v in zip(spec["columns"], outputs, strict=True)}
    found = {"image": _pictures(run, spec, feeds)}
    if spec.get("condition"):
        values = np.array(list(spec["condition"]["values"]), dtype=object)
        label = np.asarray(run([spec["label"]], {**feeds, **_first_step(spec, size)})[0])
        found[spec["condition"]["column"]] = values[label]
    return found


def _first_step(spec: Mapping[str, Any], size: int) -> dict[str, np.ndarray]:
    loop = spec.get("loop")
    if not loop:
        return {}
    return {loop["image"]: np.zeros((size, *loop["shape"]), np.int64), loop["at"]: np.zeros(1, np.int64)}


def _pictures(run: Run, spec: Mapping[str, Any], feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    """uint8 (n, S, S, 3).  A declared loop runs the graph once for every value of a picture; `first` leaves those before it."""
    loop = spec.get("loop")
    if not loop:
        return np.asarray(run([spec["image"]], feeds)[0])
    feeds = dict(feeds)
    feeds |= _first_step(spec, len(feeds[spec["inputs"]["uniform"]["name"]]))
    for step in range(loop.get("first", 0), loop["steps"]):
        feeds[loop["at"]] = np.array([step], np.int64)
        wanted = [loop["next"], spec["image"]] if step == loop["steps"] - 1 else [loop["next"]]
        answer = run(wanted, feeds)
        feeds[loop["image"]] = np.asarray(answer[0])
    return np.asarray(answer[-1])


def read(values: np.ndarray, column: Mapping[str, Any]) -> np.ndarray:
    """A column as the graph answers it, in the form people know: numbers with their decimals, dates as text."""
    if column["form"] == "word":
        return values.astype(object)
    numbers = values[:, 0].astype(np.float64)
    if column.get("values"):
        return _nearest(numbers, np.asarray(column["values"], np.float64))
    if column["form"] == "number":
        return numbers if column["decimals"] is None else np.round(numbers, column["decimals"]) + 0.0
    text = np.full(len(numbers), "", dtype=object)
    known = np.isfinite(numbers)
    seconds = np.round(numbers[known] * 86400).astype("timedelta64[s]")
    written = (np.datetime64(column["origin"], "s") + seconds).astype(str)
    text[known] = [t.replace("T", " ") for t in written.tolist()]
    return text


def _nearest(numbers: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """The nearest of the values a column takes; NaN stays."""
    place = np.searchsorted((exact[1:] + exact[:-1]) / 2, numbers)
    return np.where(np.isnan(numbers), numbers, exact[np.minimum(place, len(exact) - 1)])


def _conditions(
    spec: Mapping[str, Any], condition: Mapping[str, Any]
) -> tuple[int, dict[str, Callable[[np.ndarray], np.ndarray]]]:
    """The code to feed (-1 for none), and a check for every other condition."""
    given, checks = -1, {}
    native = spec.get("condition") or {"column": None, "values": {}}
    by_name = {c["name"]: c for c in spec["columns"]}
    for name, value in condition.items():
        if name not in by_name and name != native["column"]:
            known = [*by_name, *([native["column"]] if native["column"] and native["column"] not in by_name else [])]
            raise ConditionError(f"{name!r} is not a column of the samples; known: {', '.join(map(repr, known[:20]))}")
        if name == native["column"] and not isinstance(value, Mapping):
            word = _word(value)
            if word not in native["values"]:
                known = list(native["values"])
                raise ConditionError(f"{name!r} is never {value!r}; known: {', '.join(map(repr, known[:20]))}")
            given = native["values"][word]
        elif name in by_name:
            checks[name] = _check(by_name[name], value)
        else:
            raise ConditionError(f"{name!r} takes one value, not {value!r}")
    return given, checks


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return str(value)


def _check(column: Mapping[str, Any], value: Any) -> Callable[[np.ndarray], np.ndarray]:
    name = column["name"]
    if isinstance(value, Mapping):
        bounds = {k: v for k, v in value.items() if k in ("min", "max")}
        if not bounds or len(bounds) < len(value) or column["form"] == "word":
            raise ConditionError(
                f'a range of {name!r} is {{"min": a, "max": b}} and needs a number or date, not {value!r}'
            )
        low, high = (_bound(column, bounds.get(k)) for k in ("min", "max"))
        if column["form"] == "date":
            return lambda v: (v != "") & (v >= (low or "")) & ((v <= high + " 99") if high else True)
        return lambda v: (v >= (-math.inf if low is None else low)) & (v <= (math.inf if high is None else high))
    if value is None and not column["missing"]:
        raise ConditionError(f"{name!r} is never missing")
    if value is None:
        return (lambda v: np.isnan(v)) if column["form"] == "number" else (lambda v: v == "")
    if column["form"] == "number":
        number = _bound(column, value)
        return lambda v: np.abs(v - number) <= 1e-6 * max(1.0, abs(number))
    text = _word(value)
    if column.get("words") is not None and text not in column["words"]:
        raise ConditionError(f"{name!r} is never {value!r}; known: {', '.join(map(repr, column['words'][:20]))}")
    if column["form"] == "date":
        return lambda v: np.array([str(t).startswith(text) for t in v], bool)
    return lambda v: v == text


def _bound(column: Mapping[str, Any], value: Any) -> Any:
    if value is None:
        return None
    if column["form"] == "date":
        return str(value).replace("T", " ")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ConditionError(f"{column['name']!r} holds numbers, not {value!r}") from None
    if not math.isfinite(number):
        raise ConditionError(f"{column['name']!r} needs a finite number, not {value!r}")
    return number


def records(samples: Mapping[str, np.ndarray], columns: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Samples as one mapping a row; None is missing, whole-number columns hold ints."""
    lists = []
    for c in columns:
        values = samples[c["name"]]
        if c["form"] == "number":
            whole = c["decimals"] == 0
            lists.append([None if math.isnan(v) else int(v) if whole else v for v in values.tolist()])
        else:
            lists.append([v or None for v in values.tolist()])
    names = [c["name"] for c in columns]
    for row in zip(*lists, strict=True):
        yield dict(zip(names, row, strict=True))


def main(arguments: Sequence[str]) -> int:
    import argparse

    import onnxruntime

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n", type=int)
    parser.add_argument("answers", nargs="?", default=None, help="csv for rows (else printed), npy for pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="COLUMN=VALUE")
    asked = parser.parse_args(list(arguments))
    folder = Path(__file__).resolve().parent
    spec = json.loads((folder / "manifest.json").read_text("utf-8"))["info"]["generation"]
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    try:
        samples = draw(
            lambda names, feeds: session.run(list(names), dict(feeds)), spec, asked.n, asked.seed,
            dict(pair.split("=", 1) for pair in asked.set),
        )  # fmt: skip
    except ConditionError as error:
        print(error, file=sys.stderr)
        return 1
    if spec["data"] == "images":
        np.save(asked.answers or "pictures.npy", samples["image"])
        return 0
    if asked.answers is None:
        _write(sys.stdout, samples, spec["columns"])
        return 0
    with open(asked.answers, "w", newline="", encoding="utf-8") as out:
        _write(out, samples, spec["columns"])
    return 0


def _write(out: TextIO, samples: Mapping[str, np.ndarray], columns: Sequence[Mapping[str, Any]]) -> None:
    writer = csv.DictWriter(out, [c["name"] for c in columns], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records(samples, columns))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
