"""What rows are known by in a table: their places, see `watcher.sqlite.slices`."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import apsw
import msgspec

from watcher import wire
from watcher.changes import LargeValue, Row, Value
from watcher.hub import Hub
from watcher.sqlite.channel import Declared
from watcher.sqlite.names import known_collation
from watcher.sqlite.rows import MARK, RowReader
from watcher.view.cursor import Void

Place = tuple[Value, ...]


class Places:
    """The places of one table; safe to use from any thread.

    Args:
        hub: the watched database.
        declared: what is declared of the table.
    """

    def __init__(self, hub: Hub, declared: Declared) -> None:
        self._hub = hub
        self._declared = declared
        self._lock = threading.Lock()
        self._db = apsw.Connection(":memory:")
        self._db.execute(f"PRAGMA encoding='{declared.encoding}'").fetchall()
        self._reader = RowReader(self._db, declared.encoding)

    def of(self, key: Row) -> Place:
        """The place of a row by the key clients know it by.

        Raises:
            KeyError: it is no key of this table.
            MalformedPosition: the database cannot hold a value of it.
        """
        for value in key.values():
            self._reader.bind(MARK, [value])
        identities, by_key = self._declared.identities, self._declared.key
        if "$rowid" in key and "$rowid" not in by_key:
            if len(key) > 1 or (by_key and len(identities) == 1):
                raise KeyError("$rowid")
            return (len(identities) - 1, key["$rowid"])
        if not by_key or len(key) != len(by_key):
            raise KeyError(*by_key)
        return (0, *(key[name] for name in identities[0].columns))

    def of_change(self, key: msgspec.Raw) -> Place:
        """The place of a row by the key in a change.

        Raises:
            Void: it is no key of this table, or is not kept any more.
        """
        row = {name: self.value(value) for name, value in wire.decode_json(bytes(key)).items()}
        try:
            return self.of(row)
        except KeyError as error:
            raise Void from error

    def value(self, encoded: object) -> Value:
        """A value as SQLite holds it, by its form in JSON.

        Raises:
            Void: it travels beside the stream, and is not kept any more.
        """
        value = wire.decode_value(encoded)
        if not isinstance(value, LargeValue):
            return value
        found = self._hub.stored_value(value.sha256)
        if found is None:
            raise Void
        return wire.large_content(*found)

    def is_behind(self, place: Place, cut: Sequence[Value]) -> bool:
        """Whether a place comes after another one, which may be the place before all of a kind."""
        number, *values = place
        if number != cut[0] or len(cut) == 1:
            return bool(number >= cut[0])  # type: ignore[operator]  # numbers of identities
        collations = self._declared.identities[int(number)].collations  # type: ignore[arg-type]
        terms = ",".join(f"{MARK} COLLATE {known_collation(collation)}" for collation in collations)
        marks = ",".join([MARK] * len(collations))
        with self._lock:
            sql, bound = self._reader.bind(f"SELECT ({terms}) > ({marks})", [*values, *cut[1:]])
            ((found,),) = self._db.execute(sql, bound).fetchall()
        return bool(found)
