"""What tables there are, how many rows they have, and what is declared of them."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from watcher.hub import Hub
from watcher.sqlite.channel import AskTable, Declared
from watcher.view import Counts
from watcher.web.problems import problems


class RowCount(BaseModel):
    """How many rows a table has."""

    count: int
    exact: bool = Field(description="Whether it is just this number.")


class TableDefinition(BaseModel):
    """What a client must know of a table."""

    name: str
    key: list[str] = Field(description="Columns of the declared primary key.")
    columns: list[str] = Field(description="All visible columns in order.")
    rows: RowCount | None = Field(None, description="Null while they are being counted.")


class ColumnDefinition(BaseModel):
    """What is declared of a column."""

    name: str
    type: str = Field(description="As declared; empty where it is not.")
    required: bool = Field(description="Whether it is NOT NULL.")
    default: str | None = Field(description="SQL of its default.")
    key: int = Field(description="Its place in the primary key from 1, 0 for none.")
    generated: bool = Field(description="Whether it is computed from others.")
    collation: str


class ObjectDefinition(BaseModel):
    """An index or a trigger."""

    object: str = Field(description="`index` or `trigger`.")
    name: str
    sql: str


class TableSchema(BaseModel):
    """What is declared of a table."""

    name: str
    sql: str = Field(description="The statement that makes it.")
    without_rowid: bool
    strict: bool
    columns: list[ColumnDefinition]
    objects: list[ObjectDefinition]


def table_routes(hub: Hub) -> APIRouter:
    """The routes that tell of tables.

    Args:
        hub: the watched database.
    """
    router = APIRouter(tags=["database"])
    counts = Counts(hub)

    @router.get("/tables", response_model=list[TableDefinition], summary="The watched tables")
    async def tables() -> list[dict[str, object]]:
        """Counting begins when this is first asked for; after that it costs nothing."""
        rows = await counts.all() if hub.tables() else {}
        return [
            {
                "name": table.name,
                "key": list(table.key),
                "columns": list(table.columns),
                "rows": {"count": rows[table.name], "exact": True} if table.name in rows else None,
            }
            for table in hub.tables()
        ]

    @router.get(
        "/tables/{name:anything}/schema",
        response_model=TableSchema,
        responses=problems(
            _404="No watched table has this name.",
            _503="It cannot be read at the moment.",
        ),
        summary="What is declared of a table",
    )
    async def schema(name: str) -> dict[str, object]:
        """Of what is excluded it tells nothing."""
        return _schema_object(name, await hub.ask(AskTable(0, name), Declared))

    return router


def _schema_object(name: str, declared: Declared) -> dict[str, object]:
    return {
        "name": name,
        "sql": declared.sql,
        "without_rowid": declared.without_rowid,
        "strict": declared.strict,
        "columns": [
            {
                "name": column.name,
                "type": column.type,
                "required": column.required,
                "default": column.default,
                "key": column.key_index,
                "generated": column.generated,
                "collation": column.collation,
            }
            for column in declared.columns
        ],
        "objects": [
            {"object": found.type, "name": found.name, "sql": found.sql}
            for found in declared.objects
        ],
    }
