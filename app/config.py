"""What can be set from outside: one frozen value, read from the environment in one place."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from assay.errors import AssayError

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class ConfigError(AssayError):
    """A setting that cannot be honoured; the message names the variable, its value and what is expected."""

    code = "validation_error"


@dataclass(frozen=True)
class Settings:
    """How this process runs.  Without a database URL everything lives in `home` (embedded mode)."""

    home: Path = field(default_factory=lambda: Path("assay-home"))
    database_url: str = ""  # empty: a SQLite file in home
    redis_url: str | None = None  # None: workers on this machine are woken through a socket in home
    host: str = "127.0.0.1"
    port: int = 8000
    root_path: str = ""  # path prefix that a proxy in front strips
    public_url: str | None = None  # address in links and hints; None: as the client called us
    auth: bool = False  # whether /v1 asks for API keys
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")  # of the Host header; "*" allows all
    max_upload_bytes: int = 20 * 1024**3
    upload_timeout: float = 60.0  # seconds without a byte after which an upload is dropped
    rate_limit: int = 0  # requests a minute and owner; 0: no limit
    import_hosts: tuple[str, ...] = ()  # hosts datasets may be fetched from; empty: importing by URL is off
    webhook_hosts: tuple[str, ...] = ()  # the only hosts webhooks may go to; empty: every public one
    log_format: str = "console"  # or "json"
    log_level: str = "info"
    slots: int = 0  # trials side by side on this worker; 0: one for each processor core, less one for the API
    lanes: tuple[str, ...] = ("cpu",)  # kinds of work this worker takes: cpu, gpu
    memory_mb: int = 0  # for all trials of this worker together; 0: most of what the machine has
    threads: int = 40  # request threads of the API, and so database connections at most

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Read DATABASE_URL, REDIS_URL and ASSAY_<FIELD>; overrides that are not None win.  Raises ConfigError."""
        env = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for f in fields(cls):
            for name in (f"ASSAY_{f.name.upper()}", *_PLAIN.get(f.name, ())):
                if env.get(name, "") != "":
                    values[f.name] = _parsed(name, env[name], _PARSERS[f.name])
                    break
        values |= {name: value for name, value in overrides.items() if value is not None}
        return cls(**values)

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", Path(self.home).expanduser().absolute())
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{self.home / 'assay.db'}")
        if self.log_format not in ("console", "json"):
            raise ConfigError(f"ASSAY_LOG_FORMAT is {self.log_format!r}; it must be 'console' or 'json'")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"ASSAY_PORT is {self.port}; it must lie between 0 and 65535")
        if self.root_path and (not self.root_path.startswith("/") or self.root_path.endswith("/")):
            raise ConfigError(f"ASSAY_ROOT_PATH is {self.root_path!r}; write it like '/assay'")

    @property
    def embedded(self) -> bool:
        """Whether the rows are in a file of this machine, so that workers must run here too."""
        return self.database_url.startswith("sqlite")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the API."""
        return self.host in LOOPBACK

    def check_exposure(self) -> None:
        """Raises ConfigError when anybody on the network could use the API without a key."""
        if not self.auth and not self.loopback:
            raise ConfigError(
                f"{self.host} can be reached from other machines, and API keys are off; set ASSAY_AUTH=1 "
                f"(`assay keys create` makes the first key) or listen on 127.0.0.1"
            )


def _text(value: str) -> str:
    return value


def _flag(value: str) -> bool:
    if value.lower() in ("1", "true", "yes", "on"):
        return True
    if value.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("1 or 0")


def _count(value: str) -> int:
    number = int(value) if value.lstrip("-").isdigit() else -1
    if number < 0:
        raise ValueError("a whole number, 0 or more")
    return number


def _seconds(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        raise ValueError("a number of seconds above 0")
    return number


def _names(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _parsed(name: str, value: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(value)
    except ValueError as expected:
        raise ConfigError(f"{name} is {value!r}; it must be {expected}") from None


_PLAIN: Mapping[str, tuple[str, ...]] = {"database_url": ("DATABASE_URL",), "redis_url": ("REDIS_URL",)}
_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "home": Path,
    "database_url": _text,
    "redis_url": _text,
    "host": _text,
    "port": _count,
    "root_path": _text,
    "public_url": _text,
    "auth": _flag,
    "allowed_hosts": _names,
    "max_upload_bytes": _count,
    "upload_timeout": _seconds,
    "rate_limit": _count,
    "import_hosts": _names,
    "webhook_hosts": _names,
    "log_format": _text,
    "log_level": _text,
    "slots": _count,
    "lanes": _names,
    "memory_mb": _count,
    "threads": _count,
}
