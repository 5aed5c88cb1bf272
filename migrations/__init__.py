"""The history of the schema, one for SQLite and Postgres."""
