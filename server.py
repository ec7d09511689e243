"""Watches a SQLite file and serves its changes: `python server.py [DATABASE]`.

The same as `sqlite-watcher serve`, except that the demo database lies beside this file.
"""

from __future__ import annotations

from pathlib import Path

from watcher.cli import serve_main

if __name__ == "__main__":
    raise SystemExit(serve_main(Path(__file__).resolve().parent))
