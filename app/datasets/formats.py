"""What a dataset may be sent as: media types and names of formats.  The reader looks at the content all the same."""

from __future__ import annotations

from app.errors import ApiError, closest

FORMATS = (
    "csv", "tsv", "json", "jsonl", "parquet", "arrow", "xlsx", "gzip", "zip", "tar", "imagefolder", "coco", "voc", "masks",
)  # fmt: skip

# None: says nothing about the content
_MEDIA: dict[str, str | None] = {
    "": None,
    "application/octet-stream": None,
    "binary/octet-stream": None,
    "application/x-www-form-urlencoded": None,  # what curl --data-binary says when it is not told otherwise
    "text/plain": None,
    "application/vnd.ms-excel": None,  # what some browsers call a csv file
    "text/csv": "csv",
    "application/csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/json": "json",
    "application/jsonl": "jsonl",
    "application/x-ndjson": "jsonl",
    "application/jsonlines": "jsonl",
    "application/vnd.apache.parquet": "parquet",
    "application/x-parquet": "parquet",
    "application/parquet": "parquet",
    "application/vnd.apache.arrow.file": "arrow",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/zip": "zip",
    "application/x-zip-compressed": "zip",
    "application/gzip": "gzip",
    "application/x-gzip": "gzip",
    "application/x-tar": "tar",
}


def format_of(asked: str | None, content_type: str) -> str | None:
    """The format asked for or announced; None when only name and content can tell.  Raises unsupported_format."""
    if asked is not None:
        if asked.lower() not in FORMATS:
            near = closest(asked.lower(), FORMATS)
            raise ApiError("unsupported_format", f"{asked!r} is not a format that can be read; {near}")
        return asked.lower()
    media = content_type.partition(";")[0].strip().lower()
    if media not in _MEDIA:
        known = ", ".join(sorted({m for m, f in _MEDIA.items() if f}))
        raise ApiError("unsupported_format", f"{media!r} is not a media type that can be read; known: {known}")
    return _MEDIA[media]
