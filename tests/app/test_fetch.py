"""Datasets from addresses: off by default, from named hosts only, never from inside the network."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.datasets.fetch import check
from app.errors import ApiError
from tests.app import running
from tests.app.running import CSV

INSIDE = [
    *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.9.9", "192.168.0.1"),
    *("169.254.169.254", "169.254.0.1", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1"),
    *("203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1"),
    *("fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
    *("2001:db8::1", "100::1"),
]
FORMS = [
    *("http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://0/", "http://0x7f.1/", "http://2130706433/"),
    *("http://017700000001/", "http://127.1/", "http://169.254.169.254/latest/meta-data", "http://metadata.google.internal/"),
    *("https://data.example.evil.com/", "https://evil.com/data.example", "https://evil.com#data.example", "https://evil.com?data.example"),
    *("http://data.example@evil.com/", "http://evil.com@data.example/", "http://user:secret@data.example/", "http://data.example:22/"),
    *("http://data.example:6379/", "http://data.example:0/", "http://data.example:99999/", "http://data.example:x/", "http:///x"),
    *("file:///etc/passwd", "ftp://data.example/x", "gopher://data.example/", "dict://data.example/", "data:text/csv,a", "jar:http://x!/"),
    *("ldap://data.example", "//data.example/x", "data.example/x", "", "http://", "http://data.example\\@evil.com/"),
    *("http://data.example/a b", "http://data.example/\r\nHost: evil", "http://data\u3002example/", "http://[::ffff:127.0.0.1]/"),
    *("http://data.example..evil/", "http://xn--data.example/", "http://DATA.EXAMPLE.evil/"),
]  # fmt: skip


class Pages(BaseHTTPRequestHandler):
    """A small site: a table, redirects, a bad length, an error."""

    def do_GET(self) -> None:
        if self.path == "/train.csv":
            self._answer(200, CSV, {"Content-Type": "text/csv"})
        elif self.path == "/short":
            self._answer(200, CSV, {"Content-Length": "1000"})
        elif self.path == "/large":
            self._answer(200, b"x" * 5000, {})
        elif self.path.startswith("/to?"):
            self._answer(302, b"", {"Location": self.path[4:]})
        else:
            self._answer(404, b"", {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def api(sqlite_template: Path, tmp_path: Path, site: str) -> Iterator[TestClient]:
    file = tmp_path / "assay.db"
    file.write_bytes(sqlite_template.read_bytes())
    with running.running(f"sqlite:///{file}", tmp_path, import_hosts=(site,), max_upload_bytes=4000) as (client, _):
        yield client


def test_it_is_off_unless_hosts_are_named(sqlite_template: Path, tmp_path: Path, site: str) -> None:
    file = tmp_path / "assay.db"
    file.write_bytes(sqlite_template.read_bytes())
    with running.running(f"sqlite:///{file}", tmp_path) as (api, _):
        refused = api.post("/v1/datasets", json={"url": f"http://{site}/train.csv"})
    assert (refused.status_code, refused.json()["code"]) == (403, "source_not_allowed")


def test_a_table_of_a_named_host_becomes_a_dataset(api: TestClient, site: str) -> None:
    made = api.post("/v1/datasets", json={"url": f"http://{site}/to?/train.csv", "name": "far"})
    assert made.status_code == 201, made.text
    assert (made.json()["name"], made.json()["bytes"]) == ("far", len(CSV))
    assert api.get(f"/v1/datasets/{made.json()['id']}/content").content == CSV


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/nothing", "source_unreachable"),
        ("/short", "source_unreachable"),
        ("/large", "dataset_too_large"),
        ("/to?http://127.0.0.1:1/", "source_not_allowed"),
        ("/to?http://169.254.169.254/", "source_not_allowed"),
        ("/to?file:///etc/passwd", "source_not_allowed"),
        ("/to?/to?/to?/to?/to?/train.csv", "source_unreachable"),
    ],
)
def test_what_cannot_be_had_leaves_nothing_behind(api: TestClient, site: str, path: str, code: str) -> None:
    refused = api.post("/v1/datasets", json={"url": f"http://{site}{path}"})
    assert refused.json()["code"] == code, refused.text
    assert api.get("/v1/datasets").json()["data"] == []


@pytest.mark.parametrize("url", FORMS)
def test_an_address_that_is_not_a_named_host_is_not_even_resolved(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolved(*_: Any, **__: Any) -> None:
        raise AssertionError("it was resolved")

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    with pytest.raises(ApiError) as refused:
        check(url, ("data.example",))
    assert refused.value.code == "source_not_allowed"


@pytest.mark.parametrize("inside", INSIDE)
def test_a_name_that_leads_inside_is_refused_even_beside_a_public_address(
    inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*addresses: str) -> None:
        found = [(0, 0, 0, "", (a, 443)) for a in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    for addresses in ((inside,), ("93.184.216.34", inside)):
        answer(*addresses)
        with pytest.raises(ApiError) as refused:
            check("https://data.example/x", ("data.example",))
        assert refused.value.code == "source_not_allowed"
    answer("93.184.216.34")
    assert check("https://data.example/x?y=1", ("data.example",)).address == "93.184.216.34"


def test_a_name_that_changes_its_mind_is_asked_once(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes to the address that was checked, not to what the name says the second time."""
    from app.datasets import fetch

    asked: list[str] = []

    def rebinding(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        address = "93.184.216.34" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    went: list[str] = []

    def connect(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        went.append(address[0])
        raise OSError("not in a test")

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(ApiError) as lost:
        fetch.fetch("http://data.example/x", ("data.example",), 100)
    assert lost.value.code == "source_unreachable"
    assert (asked, went) == (["data.example"], ["93.184.216.34"])
