"""The front of texts: characters, words and subwords as numbers, side by side, for any language and script.

A text is brought into one form (Unicode NFKC, casefold, plain spaces) and told three times over in one row of integers,
0 where it has ended: its characters as code points between two spaces; its words as hashes between a start and an end
mark; its subwords as positions in a vocabulary that was learned from the training texts.  A fourth part, the subwords
of a pretrained encoder, is there when the job uses one.  Scripts without spaces are cut into characters.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np

from assay.data.table import Column, Words

START, END = 1, 2  # marks around the words of a text
UNKNOWN = 1  # the subword for what the vocabulary cannot spell
FIRST_PIECE = 2  # of the vocabulary
GOES_ON = "##"  # before a subword that does not start a word
LONGEST_WORD = 60  # characters of a word that are cut into subwords
_SPACELESS = (  # Thai, Lao, Myanmar, Khmer, kana, Han with its extensions, Hangul is written with spaces
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ede\u1000-\u109f\u1780-\u17d3\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
)


@dataclass(frozen=True)
class TextFront:
    """chars, words, pieces, encoder: how many of each a row holds; longer texts are cut there.

    vocabulary: the subwords, those within a word marked by `##`.  tokenizer: the pretrained encoder's, as the JSON that
    the `tokenizers` library writes; "" without one.
    """

    chars: int
    words: int
    pieces: int = 0
    encoder: int = 0
    vocabulary: tuple[str, ...] = ()
    tokenizer: str = field(default="", repr=False)

    kind = "text"
    dtype = "int32"

    @property
    def shape(self) -> tuple[int | None, ...]:
        return (self.chars + self.words + self.pieces + self.encoder,)

    @property
    def about(self) -> str:
        parts = [f"{self.chars} characters as code points", f"{self.words} words as CRC-32 hashes"]
        parts += [f"{self.pieces} subwords by position in the vocabulary"] if self.pieces else []
        parts += [f"{self.encoder} subwords of the pretrained encoder"] if self.encoder else []
        return f"NFKC and casefold, then side by side as int32, zeros behind the end: {', '.join(parts)}"

    def span(self, view: str) -> tuple[int, int]:
        """Where a view ("chars", "words", "pieces", "encoder") lies in a row: from, to."""
        sizes = {"chars": self.chars, "words": self.words, "pieces": self.pieces, "encoder": self.encoder}
        names = list(sizes)
        start = sum(sizes[n] for n in names[: names.index(view)])
        return start, start + sizes[view]

    def encode(self, column: Column) -> np.ndarray:
        """int32 (n, chars + words + pieces + encoder); a missing text is a row of zeros."""
        if not isinstance(column, Words):
            raise TypeError("this front reads texts")
        used, places = np.unique(column.codes, return_inverse=True)
        return np.asarray(self.rows(["" if c < 0 else str(column.levels[c]) for c in used])[places])

    def rows(self, texts: Sequence[str]) -> np.ndarray:
        """int32 (len(texts), width); "" is missing."""
        out = np.zeros((len(texts), int(self.shape[0] or 0)), np.int32)
        known: dict[str, int] = {}
        cut: dict[str, list[int]] = {}
        to_words, to_pieces = self.chars, self.chars + self.words
        for row, text in zip(out, texts, strict=True):
            if not text:
                continue
            plain = normalised(text)
            points = code_points(f" {plain} ")[: self.chars]
            row[: len(points)] = points
            cut_words = words_of(plain, max(self.words - 2, self.pieces))
            hashes = [START, *(known.get(w) or known.setdefault(w, word_hash(w)) for w in cut_words), END]
            hashes = hashes[: self.words]
            row[to_words : to_words + len(hashes)] = hashes
            if self.pieces:
                ids: list[int] = []
                for word in cut_words:
                    if word not in cut:
                        cut[word] = [self._piece_ids.get(p, UNKNOWN) for p in pieces_of(word, self._piece_ids)]
                    ids += cut[word]
                    if len(ids) >= self.pieces:
                        break
                row[to_pieces : to_pieces + min(len(ids), self.pieces)] = ids[: self.pieces]
        if self.encoder:
            out[:, -self.encoder :] = self._encoded(texts)
        return out

    def tokens(self, text: str, view: str) -> list[str]:
        """The subwords of a text as they stand in a row of `pieces` or `encoder`, for showing."""
        if not text:
            return []
        if view == "encoder":
            ids = self._tokenizer.encode(text).ids[: self.encoder]
            return [str(self._tokenizer.id_to_token(i)) for i in ids]
        found = [p for w in words_of(normalised(text), self.pieces) for p in pieces_of(w, self._piece_ids)]
        return found[: self.pieces]

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {"kind": self.kind, "chars": self.chars, "words": self.words, "pieces": self.pieces}
        body |= {"encoder": self.encoder, "vocabulary": list(self.vocabulary)}
        return {**body, "tokenizer": self.tokenizer} if self.tokenizer else body

    @cached_property
    def _piece_ids(self) -> dict[str, int]:
        return {piece: FIRST_PIECE + i for i, piece in enumerate(self.vocabulary)}

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(self.tokenizer)
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.encoder)
        return tokenizer

    def _encoded(self, texts: Sequence[str]) -> np.ndarray:
        """One more than the encoder's own numbers, so that 0 stays free for the end.  int32 (n, encoder)."""
        out = np.zeros((len(texts), self.encoder), np.int32)
        for row, found in zip(out, self._tokenizer.encode_batch(list(texts)), strict=True):
            ids = found.ids[: self.encoder]
            row[: len(ids)] = np.asarray(ids) + 1
        out[[not t for t in texts]] = 0
        return out


def read(data: Mapping[str, Any]) -> TextFront:
    """The inverse of `to_json`."""
    sizes = {name: int(data.get(name, 0)) for name in ("chars", "words", "pieces", "encoder")}
    return TextFront(**sizes, vocabulary=tuple(data.get("vocabulary", ())), tokenizer=str(data.get("tokenizer", "")))


def normalised(text: str) -> str:
    """NFKC, casefold, every run of white space and control characters one space."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(_CONTROL.sub(" ", folded).split())


def code_points(text: str) -> np.ndarray:
    """int32 (len(text),).  Lone surrogates, which no script uses, are kept as they are."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.int32)


def words_of(text: str, most: int = 1 << 30) -> list[str]:
    """Words, numbers and single signs of a normalised text, in order."""
    found: list[str] = _word_pattern().findall(text if len(text) < 64 * most else text[: 64 * most])
    return found[:most]


def word_hash(word: str) -> int:
    """A fixed number in 3 ... 2^31 - 1: ids need no fitted vocabulary."""
    return max(zlib.crc32(word.encode("utf-8", "surrogatepass")) & 0x7FFFFFFF, END + 1)


def pieces_of(word: str, vocabulary: Mapping[str, int]) -> list[str]:
    """A word as subwords, longest match first; characters that the vocabulary lacks are passed on as they are."""
    found: list[str] = []
    start, word = 0, word[:LONGEST_WORD]
    while start < len(word):
        head = GOES_ON if start else ""
        end = len(word)
        while end > start + 1 and head + word[start:end] not in vocabulary:
            end -= 1
        found.append(head + word[start:end])
        start = end
    return found


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2060\ufeff]")


@cache
def _word_pattern() -> re.Pattern[str]:
    """Letters and digits with their combining marks; one character at a time where a script has no spaces."""
    marks = _ranges([c for c in range(0x300, 0x1F000) if unicodedata.category(chr(c))[0] == "M"])
    letter = rf"(?:(?![{_SPACELESS}])[^\W_]|[{marks}])"
    inner = rf"{letter}+(?:['’]{letter}+)*"
    return re.compile(rf"[{_SPACELESS}][{marks}]*|{inner}|[^\s]")


def _ranges(points: Sequence[int]) -> str:
    """Code points as the inside of a character class, without those of the scripts cut into characters."""
    parts: list[tuple[int, int]] = []
    for p in points:
        if parts and parts[-1][1] == p - 1:
            parts[-1] = (parts[-1][0], p)
        else:
            parts.append((p, p))
    return "".join(f"\\U{a:08x}-\\U{b:08x}" for a, b in parts)
