"""The `assay` command."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.config import ConfigError, Settings

HELP = """Assay finds the best model for your data: upload a table, name the column to predict, take the model home.

  assay serve                                   start everything on this machine (http://127.0.0.1:8000)
  assay run train.csv --target price --time 60  search for a minute, show the leaderboard, save the model
  assay worker                                  join a cluster (needs DATABASE_URL and REDIS_URL)
"""


TASKS = {  # as GET /v1/tasks; written here so that `--help` needs no service and no imports
    "classification": "one of two or more classes for every row",
    "regression": "a number for every row",
    "clustering": "groups of rows, without a target",
    "text_classification": "one of two or more classes for every text",
    "text_regression": "a number for every text",
    "image_classification": "the class of every picture",
    "object_detection": "things in pictures: boxes with labels",
    "segmentation": "a class for every pixel of a picture",
    "sequence_classification": "one of two or more classes for every time series",
    "forecasting": "the next values of one or many series",
    "generation": "new rows or pictures that look like the data",
    "multitask": "several targets at once",
}


def _tasks_told() -> str:
    return "\n".join(f"  {name:<24} {about}" for name, about in TASKS.items())


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    args = parser().parse_args(argv)
    try:
        code: int = args.run(args)
        return code
    except ConfigError as error:
        print(f"assay: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    plain = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(prog="assay", description=HELP, formatter_class=plain)
    commands = made.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser(
        "serve",
        formatter_class=plain,
        help="start the service: API and worker, one command",
        description="Start the API and a worker under one folder.  Ctrl-C ends all of it; jobs go on at the next start.\n\n"
        "With DATABASE_URL and REDIS_URL set, rows live in Postgres and workers are started elsewhere (`assay worker`).\n"
        "Off loopback, API keys are asked for (ASSAY_AUTH=1, the default there): `assay keys create NAME` makes one.",
    )
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port (default 8000; 0 takes a free one)")
    serve.add_argument("--home", type=Path, help="folder for data, models and logs (default ./assay-home)")
    serve.add_argument("--root-path", help="path prefix that a proxy in front strips, like /assay")
    serve.add_argument("--api-only", action="store_true", help="no worker in this process tree")
    serve.set_defaults(run=_serve)

    worker = commands.add_parser(
        "worker",
        formatter_class=plain,
        help="run a worker of a cluster",
        description="Claim and train work from the database at DATABASE_URL, woken through the broker at REDIS_URL.\n"
        "One worker a machine (or a GPU): it runs --slots trials side by side, each in a process of its own.",
    )
    worker.add_argument("--lane", choices=["cpu", "gpu"], default="cpu", help="kind of work to take (default cpu)")
    worker.add_argument("--slots", type=int, help="trials side by side (default: one a core; one on a GPU)")
    worker.add_argument("--home", type=Path, help="folder for cached data (default ./assay-home)")
    worker.set_defaults(run=_worker)

    migrate = commands.add_parser(
        "migrate",
        help="bring the database to the newest schema",
        description="Create or upgrade the tables at DATABASE_URL (or in --home).  Safe to run twice, and by many at once.",
    )
    migrate.add_argument("--home", type=Path, help="folder of the embedded database (default ./assay-home)")
    migrate.set_defaults(run=_migrate)

    run = commands.add_parser(
        "run",
        formatter_class=plain,
        help="upload a file, search, show the leaderboard, save the model",
        description="One file in, one model out.\n\n"
        "  assay run train.csv --target price --time 60\n"
        "  assay run churn.parquet --target churned --metric log_loss --strategy bohb --out churn.zip\n"
        "  assay run reviews.csv --task text_classification --target stars\n"
        "  assay run sales.csv --task forecasting --target sold --time-column day --group-column shop --horizon 14\n"
        "  assay run photos/ --task image_classification          (a folder or zip with a folder for each class)\n"
        "  assay run rows.csv --task generation                   (add --target to draw rows by a condition)\n"
        "  assay run mail.csv --target topic,urgency --task multitask\n\n"
        "Kinds of problem (--task):\n" + _tasks_told() + "\n\n"
        "Uses the service at --url; without one it starts a service of its own for the time of the run.",
    )
    run.add_argument(
        "file",
        type=Path,
        help="CSV, TSV, Parquet, Arrow, JSONL or XLSX, gz and zip too; a folder or an archive of pictures",
    )
    run.add_argument(
        "--target", help="the column to predict, or several with commas; clustering, generation and pictures need none"
    )
    run.add_argument(
        "--task",
        choices=["auto", *TASKS],
        default="auto",
        metavar="TASK",
        help="kind of problem, see above (default: classification or regression, from the target)",
    )
    run.add_argument(
        "--horizon", type=int, metavar="STEPS", help="forecasting: how many steps ahead (default: by calendar)"
    )
    run.add_argument("--time-column", metavar="COLUMN", help="the column that orders the rows: dates, or whole numbers")
    run.add_argument(
        "--group-column", metavar="COLUMN", help="rows of one group stay together; forecasting: names the series"
    )
    run.add_argument("--weight-column", metavar="COLUMN", help="how much each row counts")
    run.add_argument("--positive-class", metavar="CLASS", help="of two classes, the one to find")
    run.add_argument("--ignore", metavar="COLUMNS", help="columns to leave out, separated by commas")
    run.add_argument("--time", type=float, default=60.0, metavar="SECONDS", help="how long to search (default 60)")
    run.add_argument("--trials", type=int, help="at most so many trials")
    run.add_argument(
        "--metric", default="auto", help="what to optimise, e.g. roc_auc, log_loss, rmse (default: the usual one)"
    )
    run.add_argument("--strategy", default="auto", help="auto, bayesian, genetic, annealing, bohb, portfolio or random")
    run.add_argument("--families", help="only these model families, separated by commas")
    run.add_argument("--seed", type=int, default=0, help="seed of splits and search (default 0)")
    run.add_argument("--out", type=Path, help="where to save the model (default: FILE with .assay.zip)")
    run.add_argument(
        "--url",
        default=os.environ.get("ASSAY_URL"),
        help="a running service (default: $ASSAY_URL, else one of its own)",
    )
    run.add_argument("--key", default=os.environ.get("ASSAY_KEY"), help="its API key (default: $ASSAY_KEY)")
    run.add_argument("--home", type=Path, help="folder of a service of its own (default: a temporary one)")
    run.set_defaults(run=_run)

    keys = commands.add_parser(
        "keys",
        help="make, list and revoke API keys",
        description="API keys of the database at DATABASE_URL or in --home.",
    )
    verbs = keys.add_subparsers(required=True, metavar="VERB")
    create = verbs.add_parser("create", help="make a key; it is shown once")
    create.add_argument("name", help="what the key is for")
    create.add_argument("--owner", default="default", help="whose data it opens (default: default)")
    create.add_argument("--scopes", default="read,write,admin", help="read, write, admin (default: all)")
    create.add_argument("--days", type=int, help="days until it expires (default: never)")
    create.add_argument("--home", type=Path)
    create.set_defaults(run=_create_key)
    listing = verbs.add_parser("list", help="the keys there are")
    listing.add_argument("--owner", default="default", help="whose keys (default: default)")
    listing.add_argument("--home", type=Path)
    listing.set_defaults(run=_list_keys)
    revoke = verbs.add_parser("revoke", help="end a key at once")
    revoke.add_argument("id", help="the key's id, key_…")
    revoke.add_argument("--owner", default="default", help="whose key (default: default)")
    revoke.add_argument("--home", type=Path)
    revoke.set_defaults(run=_revoke_key)

    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    return made


def _serve(args: argparse.Namespace) -> int:
    from app.serve import serve

    settings = Settings.from_env(home=args.home, host=args.host, port=args.port, root_path=args.root_path)
    if not settings.loopback and "ASSAY_AUTH" not in os.environ:
        settings = Settings.from_env(
            home=args.home, host=args.host, port=args.port, root_path=args.root_path, auth=True
        )
    settings.check_exposure()
    return serve(settings, api_only=args.api_only)


def _worker(args: argparse.Namespace) -> int:
    settings = Settings.from_env(home=args.home)
    if settings.embedded or settings.redis_url is None:
        raise ConfigError(
            "a worker of its own needs DATABASE_URL (postgresql://…) and REDIS_URL (redis://…); "
            "on one machine `assay serve` brings its worker with it"
        )
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1", "ASSAY_LANE": args.lane}
    environment["ASSAY_HOME"] = str(settings.home)
    if args.slots:
        environment["ASSAY_SLOTS"] = str(args.slots)
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "workers.celery_app",
        "worker",
        "--pool",
        "solo",
        "--queues",
        args.lane,
    ]
    command += [
        "--hostname",
        f"{args.lane}-{os.getpid()}@%h",
        "--without-gossip",
        "--without-mingle",
        "--loglevel",
        "WARNING",
    ]
    os.execve(sys.executable, command, environment)


def _migrate(args: argparse.Namespace) -> int:
    from app.db.engine import migrate

    settings = Settings.from_env(home=args.home)
    if settings.embedded:
        settings.home.mkdir(parents=True, exist_ok=True)
    migrate(settings.database_url)
    print("the database has the newest schema")
    return 0


def _run(args: argparse.Namespace) -> int:
    from app.run import run

    return run(args)


def _create_key(args: argparse.Namespace) -> int:
    from datetime import timedelta

    from app.accounts.service import SCOPES, create_key
    from app.clock import utc_now

    scopes = [s.strip() for s in args.scopes.split(",") if s.strip()]
    if not scopes or not set(scopes) <= set(SCOPES):
        print(f"assay: scopes are {', '.join(SCOPES)}, not {args.scopes!r}", file=sys.stderr)
        return 2
    expires = None if args.days is None else utc_now() + timedelta(days=args.days)
    with _engine(args) as engine:
        key, secret = create_key(engine, utc_now, owner=args.owner, name=args.name, scopes=scopes, expires_at=expires)
    print(f"{secret}\n\nid {key['id']}; keep it now, it is not shown again")
    return 0


def _list_keys(args: argparse.Namespace) -> int:
    from app.accounts.service import list_keys

    with _engine(args) as engine:
        for key in list_keys(engine, args.owner, None, 1000):
            state = "revoked" if key.revoked_at else "active"
            print(f"{key.id}  {key.prefix}…  {key.owner}  {','.join(key.scopes)}  {state}  {key.name}")
    return 0


def _revoke_key(args: argparse.Namespace) -> int:
    from app.accounts.service import revoke_key
    from app.clock import utc_now
    from app.errors import ApiError

    with _engine(args) as engine:
        try:
            revoke_key(engine, utc_now, args.owner, args.id)
        except ApiError as error:
            print(f"assay: {error.detail}", file=sys.stderr)
            return 1
    return 0


def _version(_: argparse.Namespace) -> int:
    from assay import __version__

    print(f"assay {__version__}")
    return 0


class _engine:
    """An engine on the migrated database of the command's settings."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.settings = Settings.from_env(home=args.home)

    def __enter__(self) -> Any:
        from app.db.engine import make_engine, migrate

        self.settings.home.mkdir(parents=True, exist_ok=True)
        migrate(self.settings.database_url)
        self.engine = make_engine(self.settings.database_url)
        return self.engine

    def __exit__(self, *_: object) -> None:
        self.engine.dispose()


def start_service(home: Path, log: Path, *, port: int) -> subprocess.Popen[bytes]:
    """`assay serve` as a child process, its output in a log file."""
    command = [sys.executable, "-m", "app.cli", "serve", "--home", str(home), "--port", str(port)]
    environment = {
        k: v
        for k, v in os.environ.items()
        if k not in ("DATABASE_URL", "REDIS_URL", "ASSAY_DATABASE_URL", "ASSAY_REDIS_URL")
    }
    with log.open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True)


if __name__ == "__main__":
    raise SystemExit(main())
