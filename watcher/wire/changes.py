"""JSON of row changes, schema changes and table definitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watcher.changes import Change, ColumnSource, Op, Row, SchemaChange, Table
from watcher.errors import ProtocolError
from watcher.wire.values import KeepLarge, decode_value, encode_json, encode_value


def _encode_row(row: Row | None, keep: KeepLarge | None) -> dict[str, object] | None:
    return None if row is None else {k: encode_value(v, keep) for k, v in row.items()}


def encode_change(change: Change | SchemaChange, keep: KeepLarge | None = None) -> bytes:
    """Encodes one element of a `changes` list.

    Args:
        change: a row change or a schema change.
        keep: as for `encode_value`.
    """
    if isinstance(change, SchemaChange):
        return encode_json(_schema_object(change, keep))
    body: dict[str, object] = {
        "op": change.op.value,
        "table": change.table,
        "key": _encode_row(change.key, keep),
    }
    if change.op is Op.UPDATE:
        body["changed"] = change.changed
    body["before"] = _encode_row(change.before, keep)
    body["after"] = _encode_row(change.after, keep)
    return encode_json(body)


def _schema_object(change: SchemaChange, keep: KeepLarge | None) -> dict[str, object]:
    body: dict[str, object] = {
        "op": Op.SCHEMA.value,
        "table": change.table,
        "object": change.object,
        "name": change.name,
        "sql": {"before": change.before, "after": change.after},
    }
    if change.definition is not None:
        body["definition"] = table_object(change.definition)
    if change.renamed_from is not None:
        body["renamed_from"] = change.renamed_from
    if change.columns is not None:
        body["columns"] = [
            {"name": column.name, "from": column.source}
            if column.source is not None
            else {"name": column.name, "default": encode_value(column.default, keep)}
            for column in change.columns
        ]
    return body


def table_object(table: Table) -> dict[str, object]:
    """Gives a table definition the form it has in `hello` and in schema changes."""
    return {"name": table.name, "key": table.key, "columns": table.columns}


def decode_table(body: Mapping[str, Any]) -> Table:
    """Reads a table definition; the inverse of `table_object`."""
    return Table(body["name"], tuple(body["key"]), tuple(body["columns"]))


def decode_change(body: Mapping[str, Any]) -> Change | SchemaChange:
    """Reads one element of a `changes` list.

    Raises:
        ProtocolError: it does not follow the format.
    """
    try:
        if body["op"] == Op.SCHEMA.value:
            return _decode_schema(body)
        return Change(
            op=Op(body["op"]),
            table=body["table"],
            key=_decode_row(body["key"]) or {},
            before=_decode_row(body["before"]),
            after=_decode_row(body["after"]),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ProtocolError(f"not a change: {str(body)[:80]}") from error


def _decode_row(row: Mapping[str, object] | None) -> Row | None:
    return None if row is None else {name: decode_value(value) for name, value in row.items()}


def _decode_schema(body: Mapping[str, Any]) -> SchemaChange:
    columns = body.get("columns")
    return SchemaChange(
        table=body["table"],
        object=body["object"],
        name=body["name"],
        before=body["sql"]["before"],
        after=body["sql"]["after"],
        definition=decode_table(body["definition"]) if "definition" in body else None,
        renamed_from=body.get("renamed_from"),
        columns=None if columns is None else tuple(map(_decode_column, columns)),
    )


def _decode_column(body: Mapping[str, Any]) -> ColumnSource:
    return ColumnSource(body["name"], body.get("from"), decode_value(body.get("default")))
