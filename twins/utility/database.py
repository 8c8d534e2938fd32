"""The database of the utility's systems: one engine, a group of tables for each system, SQLite by default and PostgreSQL by URL.

Each system reads and writes only the tables with its own prefix (`css_`, `adcs_`, `mdms_`). With SQLite in memory all
sessions share one connection, so no session is opened while another one is open.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DDL, DateTime, Engine, MetaData, Table, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import StaticPool
from sqlalchemy.types import TypeDecorator

from twins.utility.errors import NotAccepted, Reason


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC moment; SQLite, which has no time zones, keeps it as naive UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no time zone; the database keeps aware UTC only")
        if value.tzinfo is not UTC:
            value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """All tables of the utility."""

    metadata = MetaData(
        naming_convention={
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime}  # noqa: RUF012 - SQLAlchemy reads it from the class


def table_of(model: type[Base]) -> Table:
    """The table of a model, for statements that are made once and executed over and over, past the ORM."""
    assert isinstance(model.__table__, Table)
    return model.__table__


_DDL: Any = DDL  # untyped in SQLAlchemy
_POSTGRES_REFUSAL = _DDL(
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN RAISE EXCEPTION ''%% is append-only'', TG_TABLE_NAME; END'"
)


def append_only(model: type[Base]) -> type[Base]:
    """Have the database itself refuse to update or delete rows of a table."""
    table = table_of(model)
    for change in ("UPDATE", "DELETE"):
        trigger = _DDL(
            f"CREATE TRIGGER {table.name}_no_{change.lower()} BEFORE {change} ON {table.name} "
            f"BEGIN SELECT RAISE(ABORT, '{table.name} is append-only'); END"
        )
        event.listen(table, "after_create", trigger.execute_if(dialect="sqlite"))
    event.listen(table, "after_create", _POSTGRES_REFUSAL.execute_if(dialect="postgresql"))
    trigger = _DDL(
        f"CREATE TRIGGER {table.name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table.name} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    event.listen(table, "after_create", trigger.execute_if(dialect="postgresql"))
    return model


def keep_sum(of: type[Base], into: type[Base], *, key: str, value: str) -> None:
    """Have the database itself add every new row's `value` to the row of its `key` in the table `into`.

    Whoever writes to `of`, in bulk or one by one, the sum is there in the same transaction. `of` has to be append-only.
    What `of` holds already when `into` is created is summed then.
    """
    rows, sums = table_of(of), table_of(into)
    sums.add_is_dependent_on(rows)
    add = (
        f"INSERT INTO {sums.name} ({key}, {value}) VALUES (NEW.{key}, NEW.{value}) "
        f"ON CONFLICT ({key}) DO UPDATE SET {value} = {sums.name}.{value} + excluded.{value}"
    )
    trigger = _DDL(f"CREATE TRIGGER {rows.name}_sum AFTER INSERT ON {rows.name} BEGIN {add}; END")
    event.listen(sums, "after_create", trigger.execute_if(dialect="sqlite"))
    function = _DDL(
        f"CREATE OR REPLACE FUNCTION {rows.name}_sum() RETURNS trigger LANGUAGE plpgsql AS "
        f"'BEGIN {add}; RETURN NULL; END'"
    )
    event.listen(sums, "after_create", function.execute_if(dialect="postgresql"))
    trigger = _DDL(
        f"CREATE TRIGGER {rows.name}_sum AFTER INSERT ON {rows.name} FOR EACH ROW EXECUTE FUNCTION {rows.name}_sum()"
    )
    event.listen(sums, "after_create", trigger.execute_if(dialect="postgresql"))
    event.listen(
        sums,
        "after_create",
        _DDL(f"INSERT INTO {sums.name} ({key}, {value}) SELECT {key}, SUM({value}) FROM {rows.name} GROUP BY {key}"),
    )


def open_database(url: str) -> Engine:
    """Open the database and create the tables that are missing. NotAccepted where it cannot be opened."""
    try:
        where = make_url(url)
        engine = _sqlite(where) if where.get_backend_name() == "sqlite" else create_engine(where)
    except (ArgumentError, ImportError) as failure:
        raise NotAccepted(
            Reason.NOT_OPEN,
            f"database {url!r}: {failure}; give sqlite://, sqlite:///FILE or postgresql+DRIVER://USER@HOST/NAME",
        ) from None
    try:
        Base.metadata.create_all(engine)
    except OperationalError as failure:
        engine.dispose()
        raise NotAccepted(
            Reason.NOT_OPEN,
            f"database {where.render_as_string()}: {failure.orig}; check that the folder or server exists and is writable",
        ) from None
    return engine


def _sqlite(where: URL) -> Engine:
    if where.database in (None, "", ":memory:"):
        return create_engine(where, poolclass=StaticPool, connect_args={"check_same_thread": False})
    engine = create_engine(where, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        # FULL: what was answered as posted survives a power cut.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine
