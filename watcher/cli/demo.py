"""The demo database: something to edit when no file was named."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path

# Made in SQLite's default journal mode: it leaves no side files, and is what most files have.
_CONTENT = """
CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT);
INSERT INTO items(id, name, value)
VALUES (1, 'Test', '123'), (2, 'Lamp', 'off'), (3, 'Kettle', NULL);
"""


def ensure_demo_database(path: Path) -> None:
    """Creates the demo database unless a file of that name exists.

    It appears complete or not at all, and a file that another process puts there meanwhile stays.

    Args:
        path: where it shall lie.

    Raises:
        OSError: the directory cannot be written.
        sqlite3.Error: SQLite cannot write there.
    """
    if path.exists():
        return
    # A directory of its own, so that SQLite creates the file with the permissions it always gives.
    with tempfile.TemporaryDirectory(prefix=f"{path.name}-", dir=path.parent) as scratch:
        draft = Path(scratch, "draft.db")
        with contextlib.closing(sqlite3.connect(draft)) as connection:
            connection.executescript(f"BEGIN; {_CONTENT} COMMIT;")
        with contextlib.suppress(FileExistsError):
            _publish(draft, path)


def _publish(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links. Renaming could replace a file made this instant;
        # an exclusively created one is written instead.
        with path.open("xb") as file:
            file.write(draft.read_bytes())
