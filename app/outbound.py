"""Connections to addresses that a client names: checked before, pinned while they last.

A name is resolved once, every address it stands for is checked, and the connection goes to the address that was checked.
So a name that answers differently the second time (rebinding) gains nothing.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class NotAllowed(Exception):
    """The address must not be connected to; the message says why, for the one who gave it."""


class NotKnown(Exception):
    """Nobody knows the name."""


@dataclass(frozen=True)
class Place:
    """Where to connect and what to ask there: a checked address."""

    scheme: str
    host: str
    port: int
    address: str
    target: str  # path and query

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def parts_of(url: str) -> tuple[SplitResult, str, int]:
    """The parts of an http(s) address, its host (without brackets) and its port.  Raises NotAllowed."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        port = PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError:
        raise NotAllowed(f"{url[:200]!r} is not an address") from None
    if parts.scheme not in PORTS:
        raise NotAllowed(f"only http and https are reached, not {parts.scheme or url[:50]!r}")
    if not host or "@" in parts.netloc:
        raise NotAllowed("write the address as https://host/path, without user or password")
    if not url.isascii() or any(c <= " " or c in '\\"<>^`{|}' for c in url):
        raise NotAllowed("the address has characters that must be percent-encoded")
    if not 0 < port < 65536:
        raise NotAllowed(f"{port} is not a port")
    return parts, host, port


def place_of(url: str, may: Callable[[IpAddress], bool]) -> Place:
    """The place an address stands for, if every IP address of its host may be connected to.

    Raises NotAllowed and NotKnown.
    """
    parts, host, port = parts_of(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(parts.scheme, host, port, _address(host, port, may), target)


def is_public(address: IpAddress) -> bool:
    """Whether an address lies in the internet: not private, local, reserved or multicast, nor a way around to such."""
    return all(a.is_global and not a.is_multicast for a in (address, *_behind(address)))


class Pinned(http.client.HTTPConnection):
    """A connection to the place's address, whatever its name says by now.  Seconds: to connect, of silence."""

    def __init__(self, place: Place, connect: float, silence: float) -> None:
        super().__init__(place.host, place.port, timeout=connect)
        self._place, self._seconds = place, (connect, silence)

    def connect(self) -> None:
        sock = socket.create_connection((self._place.address, self._place.port), self._seconds[0])
        peer = str(sock.getpeername()[0])
        if ipaddress.ip_address(peer.partition("%")[0]) != ipaddress.ip_address(self._place.address):
            sock.close()
            raise OSError("connected to another address")
        sock.settimeout(self._seconds[1])
        if self._place.scheme == "https":
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=self._place.host)
        self.sock = sock


def _address(host: str, port: int, may: Callable[[IpAddress], bool]) -> str:
    """One address of the host, after all of them were checked."""
    try:
        found = {str(ipaddress.ip_address(host))}
    except ValueError:
        try:
            found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
        except (OSError, UnicodeError):
            raise NotKnown(f"the name {host!r} is not known") from None
    for text in found:
        if not may(ipaddress.ip_address(text.partition("%")[0])):
            raise NotAllowed(f"{host} leads to {text}, which is not a public address")
    return sorted(found, key=lambda a: (":" in a, a))[0]


def _behind(address: IpAddress) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 one may lead to: mapped, 6to4, Teredo, NAT64 (RFC 6052)."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [a for a in found if a is not None]
