"""How Alembic reaches the database: over the connection it is handed, or by DATABASE_URL on the command line."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection

from app.config import Settings
from app.db.engine import make_engine, transaction
from app.db.tables import Base
from app.db.types import Utc


def _render(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    # a migration is history: it must not change when our types do
    if kind == "type" and isinstance(item, Utc):
        return "sa.DateTime(timezone=True)"
    return False


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_item=_render,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    engine = make_engine(Settings.from_env().database_url, threads=1)
    with transaction(engine) as opened:
        _run(opened)
    engine.dispose()
