"""Bodies of any size into storage: one MiB in memory, hashing and writing in a thread, slow senders let go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from app.errors import ApiError, Fault, closest
from app.storage import Blob, Storage, Writer

BUFFER = 1 << 20  # bytes collected before they are handed to a thread
LEAST = 1024  # bytes that must arrive within the timeout: a byte a second is an attack, not an upload
FIELD_LIMIT = 10_000  # bytes of a form field that is not the file


async def store_body(request: Request, storage: Storage, timeout: float) -> Blob:
    """The raw body as a blob."""
    writer = await run_in_threadpool(storage.writer)
    return await _finish(writer, _pieces(request, timeout))


async def store_multipart(
    request: Request, storage: Storage, timeout: float
) -> tuple[Blob, str | None, str | None, dict[str, str]]:
    """(blob, file name, content type, other fields) of a form with one part `file`."""
    form = Form(request.headers.get("content-type", ""))

    async def contents() -> AsyncIterator[bytes]:
        async for piece in _pieces(request, timeout):
            found = form.feed(piece)
            if found:
                yield found
        form.finish()

    writer = await run_in_threadpool(storage.writer)
    blob = await _finish(writer, contents())
    return blob, form.filename, form.content_type, form.fields


async def append_body(request: Request, writer: Writer, timeout: float, at_most: int) -> None:
    """The raw body onto an unfinished blob; what arrived is kept even when the sender goes away."""
    total = 0
    try:
        async for piece in _pieces(request, timeout):
            total += len(piece)
            if total > at_most:
                text = f"the chunk is longer than the {at_most} bytes that are still missing"
                raise ApiError("validation_error", text, errors=[Fault("", "too_long", text)])
            await run_in_threadpool(writer.write, piece)
    finally:
        await asyncio.shield(run_in_threadpool(writer.flush))


async def _finish(writer: Writer, pieces: AsyncIterator[bytes]) -> Blob:
    try:
        async for piece in pieces:
            await run_in_threadpool(writer.write, piece)
        if writer.received == 0:
            raise ApiError("validation_error", "the body is empty; send the dataset's bytes")
        return await run_in_threadpool(writer.finish)
    except BaseException:
        await asyncio.shield(run_in_threadpool(writer.abort))
        raise


async def _pieces(request: Request, timeout: float) -> AsyncIterator[bytes]:
    """The body in pieces of about a MiB."""
    buffer = bytearray()
    stream = request.stream()
    window, arrived = time.monotonic(), 0
    while True:
        try:
            async with asyncio.timeout(max(window + timeout - time.monotonic(), 0.001)):
                chunk = await anext(stream)
        except StopAsyncIteration:
            break
        except TimeoutError:
            raise ApiError(
                "validation_error", f"no more than {arrived} bytes in {timeout:g} s; the upload was dropped", status=408
            ) from None
        except ClientDisconnect:
            raise ApiError("validation_error", "the sender went away before the end of the body", status=400) from None
        arrived += len(chunk)
        if arrived >= LEAST:
            window, arrived = time.monotonic(), 0
        buffer += chunk
        if len(buffer) >= BUFFER:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


class Form:
    """multipart/form-data in flat memory: bytes of the part `file` come out of `feed`, small fields are collected."""

    def __init__(self, content_type: str) -> None:
        _, options = parse_options_header(content_type)
        if b"boundary" not in options:
            raise ApiError("validation_error", "multipart/form-data needs a boundary in its Content-Type")
        self.filename: str | None = None
        self.content_type: str | None = None
        self.fields: dict[str, str] = {}
        self._headers: dict[str, str] = {}
        self._header, self._value = bytearray(), bytearray()
        self._name = ""
        self._text = bytearray()
        self._out = bytearray()
        self._files = 0
        self._ended = False
        self._parser = MultipartParser(
            options[b"boundary"],
            {
                "on_header_begin": self._on_header_begin,
                "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_part,
                "on_part_data": self._on_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def feed(self, piece: bytes) -> bytes:
        """Bytes of the file in this piece of the body."""
        try:
            self._parser.write(piece)
        except MultipartParseError as error:
            raise ApiError("validation_error", f"the multipart body is damaged: {error}") from None
        found = bytes(self._out)
        self._out.clear()
        return found

    def finish(self) -> None:
        if not self._ended:
            raise ApiError("validation_error", "the multipart body is cut off; its last boundary is missing")
        if self._files != 1:
            raise ApiError(
                "validation_error", f"the form needs one part named 'file' with the dataset, not {self._files}"
            )

    def _on_header_begin(self) -> None:
        self._header.clear()
        self._value.clear()

    def _on_header_end(self) -> None:
        self._headers[self._header.decode("latin-1").lower()] = self._value.decode("utf-8", "replace")
        if len(self._headers) > 20:
            raise ApiError("validation_error", "a part of the form has more than 20 headers")

    def _on_part(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", ""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name == "file":
            self._files += 1
            filename = options.get(b"filename")
            self.filename = filename.decode("utf-8", "replace") if filename else None
            self.content_type = self._headers.get("content-type")
        elif self._name not in ("name", "format"):
            known = closest(self._name, ("file", "name", "format"))
            raise ApiError("validation_error", f"{self._name!r} is not a part of this form; {known}")
        self._headers = {}
        self._text.clear()

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == "file":
            self._out += data[start:end]
            return
        self._text += data[start:end]
        if len(self._text) > FIELD_LIMIT:
            raise ApiError("validation_error", f"the form field {self._name!r} is longer than {FIELD_LIMIT} bytes")

    def _on_part_end(self) -> None:
        if self._name != "file":
            self.fields[self._name] = self._text.decode("utf-8", "replace")

    def _on_end(self) -> None:
        self._ended = True
