"""Settings come from the environment, and what cannot be meant is refused by name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from app import config
from app.config import ConfigError, Settings


def test_without_anything_set_all_lives_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_env({})
    assert settings.home == tmp_path / "assay-home"
    assert settings.database_url == f"sqlite:///{tmp_path}/assay-home/assay.db"
    assert settings.embedded and settings.loopback and settings.redis_url is None and not settings.auth


def test_the_environment_is_read_and_arguments_win(tmp_path: Path) -> None:
    env = {
        "DATABASE_URL": "postgresql://h/d",
        "REDIS_URL": "redis://h",
        "ASSAY_HOME": str(tmp_path),
        "ASSAY_PORT": "9000",
        "ASSAY_AUTH": "yes",
        "ASSAY_ALLOWED_HOSTS": "a.example, b.example",
        "ASSAY_UPLOAD_TIMEOUT": "2.5",
        "ASSAY_LOG_LEVEL": "",
        "PORT": "1",
    }
    settings = Settings.from_env(env, port=7000, host=None)
    assert (settings.port, settings.host, settings.auth, settings.embedded) == (7000, "127.0.0.1", True, False)
    assert settings.allowed_hosts == ("a.example", "b.example")
    assert (settings.upload_timeout, settings.log_level) == (2.5, "info")
    assert Settings.from_env({**env, "ASSAY_DATABASE_URL": "postgresql://other/d"}).database_url.endswith("other/d")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ASSAY_PORT", "abc", "whole number"),
        ("ASSAY_PORT", "70000", "65535"),
        ("ASSAY_SLOTS", "-1", "whole number"),
        ("ASSAY_AUTH", "maybe", "1 or 0"),
        ("ASSAY_UPLOAD_TIMEOUT", "inf", "seconds"),
        ("ASSAY_LOG_FORMAT", "xml", "'json'"),
        ("ASSAY_ROOT_PATH", "assay/", "'/assay'"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(name: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        Settings.from_env({name: value})
    assert expected in str(caught.value)


def test_every_field_can_be_set_from_the_environment() -> None:
    assert set(config._PARSERS) == {f.name for f in dataclasses.fields(Settings)}


def test_nobody_is_let_in_from_the_network_without_keys() -> None:
    Settings().check_exposure()
    Settings(host="0.0.0.0", auth=True).check_exposure()
    with pytest.raises(ConfigError, match="ASSAY_AUTH=1"):
        Settings(host="0.0.0.0").check_exposure()
