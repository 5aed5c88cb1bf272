"""A dataset from an address, for operators who allow it: only from hosts they name, and never from inside the network.

The name is resolved once, every address it stands for is checked, and the connection goes to the address that was
checked; redirects begin anew.  So a name that answers differently the second time (rebinding) gains nothing.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from app.errors import ApiError, Fault

CONNECT = 5.0  # seconds
SILENCE = 20.0  # seconds without a byte
WHOLE = 600.0  # seconds for everything
REDIRECTS = 3
CHUNK = 1 << 20
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Source:
    """Where a dataset may be read: a checked address and what to ask there."""

    scheme: str
    host: str
    port: int
    address: str
    target: str  # path and query


class Fetched:
    """An open source: its content, once."""

    def __init__(self, answer: http.client.HTTPResponse, connection: http.client.HTTPConnection, most: int) -> None:
        self.content_type = answer.headers.get("Content-Type", "")
        self._answer, self._connection, self._most = answer, connection, most

    def pieces(self) -> Iterator[bytes]:
        """Raises source_unreachable when it breaks off, dataset_too_large."""
        until = time.monotonic() + WHOLE
        received = 0
        while True:
            try:
                piece = self._answer.read(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise _unreachable(f"the source broke off after {received:,} bytes ({type(error).__name__})") from None
            if not piece:
                break
            received += len(piece)
            if received > self._most:
                raise ApiError("dataset_too_large", f"the source has more than the {self._most:,} bytes allowed here")
            if time.monotonic() > until:
                raise _unreachable(f"the source took longer than {WHOLE:.0f} s")
            yield piece
        if self._answer.length:
            raise _unreachable(f"the source ended {self._answer.length:,} bytes early")

    def close(self) -> None:
        self._connection.close()


def fetch(url: str, allowed: Sequence[str], most: int) -> Fetched:
    """Open the address.  Raises source_not_allowed, source_unreachable, dataset_too_large."""
    for _ in range(REDIRECTS + 1):
        source = check(url, allowed)
        connection = _connect(source)
        try:
            headers = {"Host": _authority(source), "Accept-Encoding": "identity", "User-Agent": "assay"}
            connection.request("GET", source.target, headers=headers)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _unreachable(f"{source.host} does not answer ({type(error).__name__})") from None
        if answer.status in (301, 302, 303, 307, 308) and answer.headers.get("Location"):
            connection.close()
            url = urljoin(url, answer.headers["Location"])
            continue
        if answer.status != 200:
            connection.close()
            raise _unreachable(f"{source.host} answers {answer.status}, expected 200")
        if answer.length is not None and answer.length > most:
            connection.close()
            raise ApiError(
                "dataset_too_large", f"the source has {answer.length:,} bytes; at most {most:,} are allowed here"
            )
        return Fetched(answer, connection, most)
    raise _unreachable(f"more than {REDIRECTS} redirects")


def check(url: str, allowed: Sequence[str]) -> Source:
    """The source an address stands for.  Raises source_not_allowed and, for a name nobody knows, source_unreachable.

    allowed: `host` (ports 80 and 443), `host:port`, or an IP address, which may then also be a private one.
    """
    if not allowed:
        raise _refused("this server does not fetch datasets from addresses; send the bytes themselves")
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        port = _PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError:
        raise _refused(f"{url[:200]!r} is not an address") from None
    _check_form(parts, url)
    named = f"[{host}]" if ":" in host else host
    known = {a.lower() for a in allowed}
    if f"{named}:{port}" not in known and not (named in known and port in _PORTS.values()):
        raise _refused(f"{named}:{port} is not one of the hosts datasets may come from: {', '.join(sorted(known))}")
    address = _address(host, port)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Source(parts.scheme, host, port, address, target)


def _check_form(parts: SplitResult, url: str) -> None:
    if parts.scheme not in _PORTS:
        raise _refused(f"only http and https are fetched, not {parts.scheme or url[:50]!r}")
    if not parts.hostname or "@" in parts.netloc:
        raise _refused("write the address as https://host/path, without user or password")
    if not url.isascii() or any(c <= " " or c in '\\"<>^`{|}' for c in url):
        raise _refused("the address has characters that must be percent-encoded")


def _address(host: str, port: int) -> str:
    """One address of the host, after all of them were checked."""
    try:
        literal = ipaddress.ip_address(host)
        return str(literal)  # the operator wrote this very address into the list
    except ValueError:
        pass
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        raise _unreachable(f"the name {host!r} is not known") from None
    for text in found:
        address = ipaddress.ip_address(text.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        if not (mapped or address).is_global or address.is_multicast:
            raise _refused(f"{host} leads to {text}, which is not a public address")
    return sorted(found, key=lambda a: (":" in a, a))[0]


class _Pinned(http.client.HTTPConnection):
    """A connection to one address, whatever the name says by now."""

    def __init__(self, source: Source, context: ssl.SSLContext | None) -> None:
        super().__init__(source.host, source.port, timeout=CONNECT)
        self._source, self._context = source, context

    def connect(self) -> None:
        sock = socket.create_connection((self._source.address, self._source.port), CONNECT)
        peer = str(sock.getpeername()[0])
        if ipaddress.ip_address(peer.partition("%")[0]) != ipaddress.ip_address(self._source.address):
            sock.close()
            raise OSError("connected to another address")
        sock.settimeout(SILENCE)
        self.sock = (
            sock if self._context is None else self._context.wrap_socket(sock, server_hostname=self._source.host)
        )


def _connect(source: Source) -> http.client.HTTPConnection:
    return _Pinned(source, ssl.create_default_context() if source.scheme == "https" else None)


def _authority(source: Source) -> str:
    host = f"[{source.host}]" if ":" in source.host else source.host
    return host if source.port == _PORTS[source.scheme] else f"{host}:{source.port}"


def _refused(text: str) -> ApiError:
    return ApiError("source_not_allowed", text, errors=[Fault("/url", "source_not_allowed", text)])


def _unreachable(text: str) -> ApiError:
    return ApiError("source_unreachable", text, errors=[Fault("/url", "source_unreachable", text)])
