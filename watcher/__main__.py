"""Makes `python -m watcher` the command `sqlite-watcher`."""

from __future__ import annotations

from watcher.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
