"""What can be done with datasets and uploads."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row
from starlette.responses import Response

from app.accounts.service import Principal
from app.answers import created, time
from app.datasets import repository as rows
from app.db.engine import transaction
from app.deps import Services
from app.errors import ApiError, Fault, closest, not_found
from app.ids import is_id, new_id
from app.storage import Blob

UPLOAD_KEPT = timedelta(hours=24)  # after the last byte of a resumable upload


def to_json(row: Any) -> dict[str, Any]:
    """The REST shape of a dataset."""
    return {
        "id": row.id,
        "object": "dataset",
        "name": row.name,
        "status": row.status,
        "kind": row.kind,
        "format": row.format,
        "version": row.version,
        "rows": row.rows,
        "bytes": row.bytes,
        "sha256": row.sha256,
        "columns": row.columns or [],
        "warnings": row.warnings or [],
        "error": row.error,
        "tags": row.tags or {},
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
    }


def create(
    services: Services,
    caller: Principal,
    blob: Blob,
    *,
    name: str | None,
    filename: str | None,
    format: str | None,
    media_type: str | None,
    record: Callable[[Connection, Response], None],
) -> Response:
    """Write the dataset and the order to read it, ring the bell, answer 201."""
    now, id = services.clock(), new_id("ds")
    file = clean_name(filename or (name if name and "." in name else "")) or None
    values: dict[str, Any] = {
        "id": id,
        "owner": caller.owner,
        "name": clean_name(name or "") or file or "dataset",
        "filename": file,
        "format": format,
        "media_type": (media_type or "")[:200] or None,
        "status": "validating",
        "kind": "table",
        "version": 1,
        "rows": None,
        "bytes": blob.size,
        "sha256": blob.sha256,
        "content_blob": blob.id,
        "columns": [],
        "overrides": {},
        "warnings": [],
        "error": None,
        "tags": {},
        "created_at": now,
        "updated_at": now,
    }
    with transaction(services.engine) as connection:
        rows.add(connection, values)
        services.store.add_chore("validate", id, connection=connection)
        row = rows.get(connection, caller.owner, id)
        answer = created(to_json(row), f"{services.settings.root_path}/v1/datasets/{id}")
        record(connection, answer)
    services.bell.ring("cpu")
    return answer


def get(services: Services, caller: Principal, id: str) -> Row[Any]:
    with transaction(services.engine, read_only=True) as connection:
        return find(connection, caller, id)


def find(connection: Connection, caller: Principal, id: str) -> Row[Any]:
    row = rows.get(connection, caller.owner, id) if is_id("ds", id) else None
    if row is None:
        raise not_found("dataset", id)
    return row


def ready(services: Services, caller: Principal, id: str) -> Row[Any]:
    """The whole row of a dataset that was read.  Raises dataset_not_ready with the reason."""
    with transaction(services.engine, read_only=True) as connection:
        row = rows.get_whole(connection, caller.owner, id) if is_id("ds", id) else None
    if row is None:
        raise not_found("dataset", id)
    check_ready(row)
    return row


def check_ready(row: Any) -> None:
    if row.status == "validating":
        hint = f"wait with GET /v1/datasets/{row.id}?wait=30"
        raise ApiError("dataset_not_ready", f"{row.name!r} is still being read; {hint}", headers={"Retry-After": "1"})
    if row.status == "failed":
        why = (row.error or {}).get("message", "it could not be read")
        raise ApiError("dataset_not_ready", f"{row.name!r} cannot be used: {why}")


def patch(
    services: Services, caller: Principal, id: str, values: Mapping[str, Any], check: Callable[[Any], None]
) -> Any:
    with transaction(services.engine) as connection:
        check(find(connection, caller, id))
        rows.change(connection, id, {**values, "updated_at": services.clock()})
        return find(connection, caller, id)


def delete(services: Services, caller: Principal, id: str) -> None:
    """Gone for good.  Ended jobs and models stay; jobs that have not ended keep it."""
    with transaction(services.engine) as connection:
        find(connection, caller, id)
        using = rows.unfinished_jobs(connection, id) + rows.unfinished_predictions(connection, id)
        if using:
            raise ApiError(
                "invalid_transition", f"the dataset is in use by {', '.join(using[:5])}; cancel or await them first"
            )
        rows.remove(connection, id)


def set_schema(services: Services, caller: Principal, id: str, columns: Sequence[tuple[str, str]]) -> Any:
    """A new version of the dataset, read again with these types."""
    with transaction(services.engine) as connection:
        row = find(connection, caller, id)
        if row.status == "validating":
            check_ready(row)
        using = rows.unfinished_jobs(connection, id)
        if using:
            text = f"the types cannot change under jobs that have not ended: {', '.join(using[:5])}"
            raise ApiError("invalid_transition", text)
        known = [c["name"] for c in row.columns or []]
        faults = [
            Fault(
                f"/columns/{i}/name",
                "unknown_column",
                f"{name!r} is not a column of {row.name}; {closest(name, known)}",
            )
            for i, (name, _) in enumerate(columns)
            if known and name not in known
        ]
        if faults:
            raise ApiError("validation_error", faults[0].message, errors=faults)
        now = services.clock()
        values = {
            "overrides": {**(row.overrides or {}), **dict(columns)},
            "version": row.version + 1,
            "status": "validating",
            "error": None,
            "updated_at": now,
        }
        rows.change(connection, id, values)
        services.store.add_chore("validate", id, connection=connection)
        changed = find(connection, caller, id)
    services.bell.ring("cpu")
    return changed


def schema_json(row: Any) -> dict[str, Any]:
    overrides = row.overrides or {}
    columns = [
        {"name": c["name"], "type": c["type"], "set_by": "user" if c["name"] in overrides else "inferred"}
        for c in row.columns or []
    ]
    return {"object": "schema", "dataset_id": row.id, "version": row.version, "columns": columns}


# -- uploads ----------------------------------------------------------------------------------------------------------


def upload_json(row: Any, offset: int) -> dict[str, Any]:
    return {
        "id": row.id,
        "object": "upload",
        "filename": row.filename,
        "size": row.size,
        "offset": offset,
        "sha256": row.sha256,
        "status": row.status,
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
    }


def begin_upload(
    services: Services,
    caller: Principal,
    *,
    filename: str,
    size: int,
    sha256: str | None,
    record: Callable[[Connection, Response], None],
) -> Response:
    limit = services.settings.max_upload_bytes
    if size > limit:
        text = f"the upload would have {size:,} bytes; at most {limit:,} are allowed here"
        raise ApiError("dataset_too_large", text, errors=[Fault("/size", "too_large", text)])
    now, id = services.clock(), new_id("upl")
    blob = services.storage.begin()
    values = {
        "id": id,
        "owner": caller.owner,
        "filename": filename,
        "size": size,
        "sha256": sha256.lower() if sha256 else None,
        "received": 0,
        "status": "open",
        "blob": blob,
        "created_at": now,
        "updated_at": now,
    }
    with transaction(services.engine) as connection:
        rows.add_upload(connection, values)
        row = rows.get_upload(connection, caller.owner, id)
        answer = created(upload_json(row, 0), f"{services.settings.root_path}/v1/uploads/{id}")
        answer.headers["Upload-Offset"] = "0"
        record(connection, answer)
    return answer


def get_upload(services: Services, caller: Principal, id: str) -> tuple[Row[Any], int]:
    """The row and the offset to go on from."""
    with transaction(services.engine, read_only=True) as connection:
        row = rows.get_upload(connection, caller.owner, id) if is_id("upl", id) else None
    if row is None:
        raise not_found("upload", id)
    return row, services.storage.received(row.blob) if row.blob is not None and row.status == "open" else row.received


def open_upload(services: Services, caller: Principal, id: str, offset: int) -> tuple[Row[Any], int]:
    """The same for a chunk that says where it begins.  Raises gone, invalid_transition, upload_offset_mismatch."""
    row, present = get_upload(services, caller, id)
    if row.status == "failed":
        raise ApiError(
            "gone", "the bytes of this upload did not have the announced checksum and were dropped; begin anew"
        )
    if row.status == "complete":
        raise ApiError("invalid_transition", f"the upload is complete: all {row.size} bytes are here")
    if offset != present:
        raise ApiError(
            "upload_offset_mismatch",
            f"the chunk begins at {offset}, the upload goes on from {present}",
            headers={"Upload-Offset": str(present)},
        )
    return row, present


def end_chunk(services: Services, row: Any, received: int) -> None:
    """Remember how far the upload came; seal it at its end.  Raises checksum_mismatch."""
    values: dict[str, Any] = {"received": received, "updated_at": services.clock()}
    failure: ApiError | None = None
    if received == row.size:
        blob = services.storage.append(row.blob).finish()
        values |= {"status": "complete", "blob": blob.id}
        if row.sha256 is not None and blob.sha256 != row.sha256:
            values |= {"status": "failed", "blob": None}
            failure = ApiError(
                "checksum_mismatch", f"the content has SHA-256 {blob.sha256}, announced was {row.sha256}; begin anew"
            )
    with transaction(services.engine) as connection:
        rows.change_upload(connection, row.id, values)
    if failure is not None:
        raise failure


def delete_upload(services: Services, caller: Principal, id: str) -> None:
    get_upload(services, caller, id)
    with transaction(services.engine) as connection:
        rows.remove_upload(connection, id)


def finished_upload(services: Services, caller: Principal, id: str) -> tuple[Row[Any], Blob]:
    """A complete upload and its bytes.  Raises dataset_not_ready, gone."""
    row, received = get_upload(services, caller, id)
    if row.status == "failed" or row.blob is None:
        raise ApiError("gone", "the bytes of this upload were dropped; begin anew")
    if row.status != "complete":
        raise ApiError("dataset_not_ready", f"the upload has {received} of {row.size} bytes; send the rest first")
    return row, services.storage.get(row.blob)


def clean_name(text: str) -> str:
    """A name for people: the last part of a path, without control characters.  It is never used as a path."""
    last = re.split(r"[\\/]", text.strip())[-1]
    return re.sub(r"[\x00-\x1f\x7f]", "", last).encode("utf-8", "ignore").decode()[:200]
