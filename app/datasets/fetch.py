"""A dataset from an address, for operators who allow it: only from hosts they name, and never from inside the network.

What is connected to is the address that was checked (`app.outbound`); redirects begin anew.
"""

from __future__ import annotations

import http.client
import ipaddress
import time
from collections.abc import Iterator, Sequence
from urllib.parse import urljoin

from app.errors import ApiError, Fault
from app.outbound import PORTS, IpAddress, NotAllowed, NotKnown, Pinned, Place, is_public, parts_of, place_of

CONNECT = 5.0  # seconds
SILENCE = 20.0  # seconds without a byte
WHOLE = 600.0  # seconds for everything
REDIRECTS = 3
CHUNK = 1 << 20


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
        connection = Pinned(source, CONNECT, SILENCE)
        try:
            headers = {"Host": source.authority, "Accept-Encoding": "identity", "User-Agent": "assay"}
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


def check(url: str, allowed: Sequence[str]) -> Place:
    """The source an address stands for.  Raises source_not_allowed and, for a name nobody knows, source_unreachable.

    allowed: `host` (ports 80 and 443), `host:port`, or an IP address, which may then also be a private one.
    """
    if not allowed:
        raise _refused("this server does not fetch datasets from addresses; send the bytes themselves")
    try:
        _, host, port = parts_of(url)
        named = f"[{host}]" if ":" in host else host
        known = {a.lower() for a in allowed}
        if f"{named}:{port}" not in known and not (named in known and port in PORTS.values()):
            hosts = ", ".join(sorted(known))
            raise NotAllowed(f"{named}:{port} is not one of the hosts datasets may come from: {hosts}")
        return place_of(url, lambda address: _is_literal(host, address) or is_public(address))
    except NotAllowed as error:
        raise _refused(str(error)) from None
    except NotKnown as error:
        raise _unreachable(str(error)) from None


def _is_literal(host: str, address: IpAddress) -> bool:
    """Whether the host is that very address, as the operator wrote it into the list."""
    try:
        return ipaddress.ip_address(host) == address
    except ValueError:
        return False


def _refused(text: str) -> ApiError:
    return ApiError("source_not_allowed", text, errors=[Fault("/url", "source_not_allowed", text)])


def _unreachable(text: str) -> ApiError:
    return ApiError("source_unreachable", text, errors=[Fault("/url", "source_unreachable", text)])
