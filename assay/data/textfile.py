"""Bytes of a text file made clean: UTF-8 without a mark, lines that end in \\n, nothing that is not text.

The ladder: byte-order mark, strict UTF-8, UTF-16 by its zero bytes, then a guess among eight old encodings.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

from assay.data.loaded import DataWarning, ReadLimits
from assay.errors import DataError

CHUNK = 4 << 20
GUESSED = ("windows-1252", "windows-1250", "windows-1251", "shift_jis", "gb18030", "euc-kr", "big5", "euc-jp")
# what the guesser may answer, as the codec that reads the most of it
_READ_AS = {
    "cp1252": "cp1252", "iso8859-1": "cp1252", "cp1250": "cp1250", "cp1251": "cp1251", "shift_jis": "cp932",
    "shift_jis_2004": "cp932", "cp932": "cp932", "gb18030": "gb18030", "gb2312": "gb18030", "gbk": "gb18030",
    "euc_kr": "cp949", "cp949": "cp949", "big5": "big5hkscs", "big5hkscs": "big5hkscs", "cp950": "big5hkscs",
    "euc_jp": "euc_jp", "euc_jis_2004": "euc_jis_2004",
}  # fmt: skip
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip


@dataclass(frozen=True)
class CleanText:
    """A file that is UTF-8 with \\n (or \\r\\n) at the end of lines, and what it was before."""

    path: Path
    encoding: str
    warnings: tuple[DataWarning, ...] = ()


@dataclass(frozen=True)
class _Survey:
    is_utf8: bool
    odd_lines: bytes  # some lines with bytes past ASCII, from where UTF-8 first failed
    has_newline: bool
    has_return: bool
    is_blank: bool


def clean_text(source: Path, workdir: Path, limits: ReadLimits, file: str) -> CleanText:
    """The text of a file, rewritten into workdir where it is not clean already.  Raises DataError for what is no text."""
    with source.open("rb") as f:
        head = f.read(1 << 16)
    if not head.strip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0") and source.stat().st_size <= len(head):
        raise DataError(f"{file}: the file is empty; expected a header line and rows", file=file)
    mark, encoding = next(((m, e) for m, e in _MARKS if head.startswith(m)), (b"", ""))
    if not encoding and b"\0" in head:
        encoding = _wide(head, file)
    if encoding and encoding != "utf-8":
        return CleanText(_rewrite(source, workdir, encoding, len(mark), limits, file), encoding)
    _refuse_binary(head, file)
    survey = _survey(source, limits, file)
    if survey.is_blank:
        raise DataError(f"{file}: the file is empty; expected a header line and rows", file=file)
    only_returns = survey.has_return and not survey.has_newline
    if survey.is_utf8:
        if not mark and not only_returns:
            return CleanText(source, "utf-8")
        return CleanText(_rewrite(source, workdir, "utf-8", len(mark), limits, file), "utf-8-sig" if mark else "utf-8")
    encoding, warning = _guess(survey.odd_lines, file)
    return CleanText(_rewrite(source, workdir, encoding, len(mark), limits, file), encoding, (warning,))


def _wide(head: bytes, file: str) -> str:
    """UTF-16 without a mark has its zero bytes on one side only."""
    zeros = [head[i::2].count(0) / max(len(head[i::2]), 1) for i in (0, 1)]
    if zeros[1] > 0.3 and zeros[0] < 0.05:
        return "utf-16-le"
    if zeros[0] > 0.3 and zeros[1] < 0.05:
        return "utf-16-be"
    raise _nul(head, file, 0)


def _nul(chunk: bytes, file: str, lines_before: int) -> DataError:
    row = max(lines_before + chunk[: chunk.index(0)].count(b"\n"), 1)  # the header is line 0
    return DataError(
        f"{file}: NUL byte near row {row}: the file is damaged or not a text file; export it again as CSV (UTF-8)",
        file=file,
        row=row,
    )


def _refuse_binary(head: bytes, file: str) -> None:
    controls = sum(head.count(bytes([c])) for c in range(32) if c not in (9, 10, 12, 13, 27, 26))
    if controls > 0.02 * len(head):
        raise DataError(
            f"{file}: this is not a text file and not a known table format; "
            f"send CSV, Parquet, Arrow, JSON lines or XLSX",
            file=file,
        )


def _survey(source: Path, limits: ReadLimits, file: str) -> _Survey:
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    is_utf8, odd, newline, carriage, blank = True, b"", False, False, True
    since_end = lines = total = 0
    with source.open("rb") as f:
        while chunk := f.read(CHUNK):
            total += len(chunk)
            if total > limits.max_bytes_unpacked:
                raise _too_large(file, limits)
            if b"\0" in chunk:
                raise _nul(chunk, file, lines)
            if is_utf8:
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError:
                    is_utf8, odd = False, _odd_lines(chunk)
            newline, carriage = newline or b"\n" in chunk, carriage or b"\r" in chunk
            blank = blank and not chunk.strip(b"\xef\xbb\xbf \t\r\n")
            ends = [i for i in (chunk.find(b"\n"), chunk.find(b"\r")) if i >= 0]
            since_end += min(ends) if ends else len(chunk)
            if since_end > limits.max_line_bytes:
                raise line_too_long(file, lines, limits)
            if ends:
                since_end = len(chunk) - 1 - max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
            lines += chunk.count(b"\n")
    if is_utf8:
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            is_utf8, odd = False, _odd_lines(source.read_bytes()[-CHUNK:] if total <= CHUNK else b"\xff")
    return _Survey(is_utf8, odd, newline, carriage, blank)


def line_too_long(file: str, row: int, limits: ReadLimits) -> DataError:
    """The refusal of a record past the limit."""
    return DataError(
        f"{file}: row {max(row, 1)} is longer than {limits.max_line_bytes} bytes; "
        f"a line end or a closing quote is missing, or this is no table",
        file=file,
        row=max(row, 1),
        code="dataset_too_large",
    )


def _too_large(file: str, limits: ReadLimits) -> DataError:
    return DataError(
        f"{file}: more than {limits.max_bytes_unpacked} bytes, the most that is read",
        file=file,
        code="dataset_too_large",
    )


def _odd_lines(chunk: bytes) -> bytes:
    lines: list[bytes] = []
    size = 0
    for line in chunk.replace(b"\r", b"\n").split(b"\n"):
        if not line.isascii():
            lines.append(line)
            size += len(line)
            if size > 1 << 16:
                break
    return b"\n".join(lines)


def _guess(odd: bytes, file: str) -> tuple[str, DataWarning]:
    replaced = odd.decode("utf-8", errors="replace")
    bad = replaced.count("\ufffd")
    good = sum(not c.isascii() for c in replaced) - bad
    if good > 20 * bad:
        return "utf-8", DataWarning(
            "encoding_repaired", None, f"{file}: UTF-8 with some damaged characters, which are replaced by \ufffd"
        )
    encoding = _guess_old(odd)
    return encoding, DataWarning(
        "encoding_guessed", None, f"{file}: not UTF-8; read as {encoding}, a guess. Save the file as UTF-8 to be sure"
    )


def _guess_old(odd: bytes) -> str:
    import chardet

    found = chardet.detect_all(odd, include_encodings=GUESSED, ignore_threshold=True, compat_names=False)
    ranked: list[tuple[str, float]] = []
    for guess in found:
        try:
            codec = _READ_AS.get(codecs.lookup(str(guess["encoding"])).name, "")
        except LookupError:
            continue
        if codec and codec not in [r[0] for r in ranked] and _decodes(odd, codec):
            ranked.append((codec, float(guess["confidence"] or 0.0)))
    if not ranked:
        return "cp1252"
    best, confidence = ranked[0]
    # Western and Central European share their common letters: with nothing to tell them apart, Western is likelier
    western = dict(ranked).get("cp1252", 0.0)
    same = odd.decode("cp1250", errors="replace") == odd.decode("cp1252", errors="replace")
    return "cp1252" if best == "cp1250" and (same or western >= 0.97 * confidence) else best


def _decodes(data: bytes, codec: str) -> bool:
    try:
        data.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def _rewrite(source: Path, workdir: Path, encoding: str, skip: int, limits: ReadLimits, file: str) -> Path:
    """The file as UTF-8 with every \\r that ends a line alone turned into \\n when no \\n is there."""
    strict = encoding.startswith(("utf-16", "utf-32"))
    newline = "\n".encode(encoding)
    with source.open("rb") as f:
        returns = not any(newline in chunk for chunk in iter(lambda: f.read(CHUNK), b""))
    target = workdir / "clean.txt"
    decoder = codecs.getincrementaldecoder(encoding)("strict" if strict else "replace")
    total = 0
    try:
        with source.open("rb") as f, target.open("wb") as out:
            f.seek(skip)
            while True:
                chunk = f.read(CHUNK)
                text = decoder.decode(chunk, final=not chunk)
                if strict and "\0" in text:
                    raise _nul(text.encode(), file, 0)
                data = (text.replace("\r", "\n") if returns else text).encode()
                total += len(data)
                if total > limits.max_bytes_unpacked:
                    raise _too_large(file, limits)
                out.write(data)
                if not chunk:
                    return target
    except UnicodeDecodeError as e:
        raise DataError(f"{file}: not valid {encoding} ({e.reason}); save the file as UTF-8", file=file) from e
