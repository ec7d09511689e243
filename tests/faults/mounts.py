"""Mounts that are there for a test, where this machine allows them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(path: Path, *calls: Sequence[str]) -> Iterator[None]:
    """Mounts something at a path, which is made; skips the test where that is not possible.

    Args:
        path: where.
        calls: arguments of `mount`, one call after the other, each without the path.
    """
    path.mkdir()
    for arguments in calls:
        _mount(*arguments, str(path))
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


def _mount(*arguments: str) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        pytest.skip(f"nothing can be mounted here: {error}")
    if done.returncode != 0:
        # A container may not mount even where it has root.
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
