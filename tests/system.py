"""Programs that some tests need and pip cannot bring: found, or installed where that is possible.

`python -m tests.system` brings all of them at once. Where a program cannot be had, its tests are
skipped with the reason; with CI=true that is a failure, so that nothing stays untested unseen.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Program:
    """A program of the system.

    Args:
        name: what people call it.
        commands: the names it may be installed under, the best first.
        package: the Debian package that brings it.
        probe: an option with which it does nothing and succeeds.
        instead: what does as well where it is not to be had.
    """

    name: str
    commands: tuple[str, ...]
    package: str
    probe: str = "--version"
    instead: Program | None = None


class Absent(Exception):
    """A program is not here and cannot be installed; the text says why."""


SQLITE3 = Program("sqlite3", ("sqlite3",), "sqlite3")
CHROMIUM = Program(
    "chromium",
    ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome"),
    "chromium",
)
# The same browser without the window that nobody sees: a page takes half the processor time.
HEADLESS = Program(
    "chromium-headless-shell",
    ("chromium-headless-shell",),
    "chromium-headless-shell",
    instead=CHROMIUM,
)
STRACE = Program("strace", ("strace",), "strace")
# A peer of the benchmarks.
SQLDIFF = Program("sqldiff", ("sqldiff",), "sqlite3-tools", probe="--help")


@cache
def required(program: Program) -> Path:
    """Finds a program, installing it first if it is missing.

    Raises:
        Absent: it is not to be had.
    """
    found = _find(program)
    if found is not None:
        return found
    try:
        _install(program)
    except Absent:
        if program.instead is None:
            raise
        return required(program.instead)
    found = _find(program)
    if found is None:
        raise Absent(f"{program.name}: package {program.package} brought none that runs")
    return found


def strict() -> bool:
    """Whether a missing program is a failure."""
    return os.environ.get("CI", "").lower() in {"1", "true"}


def _find(program: Program) -> Path | None:
    for command in program.commands:
        path = shutil.which(command)
        # Ubuntu's chromium package is a script that only asks for a snap: ask for the version.
        if path is not None and _run([path, program.probe]).returncode == 0:
            return Path(path)
    return None


def _install(program: Program) -> None:
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        why = "no apt-get" if apt is None else "not root"
        raise Absent(f"{program.name} is missing and cannot be installed here ({why})")
    command = [apt, "install", "-y", "-qq", "--no-install-recommends", program.package]
    result = _run(command)
    if result.returncode != 0:
        # A fresh image has no package lists yet.
        _run([apt, "update", "-qq"])
        result = _run(command)
    if result.returncode != 0:
        last = result.stderr.strip().rpartition("\n")[2]
        raise Absent(f"{program.name}: apt-get install {program.package} failed: {last}")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def main() -> int:
    """Brings all programs; says what is missing."""
    missing = 0
    for program in (SQLITE3, HEADLESS, STRACE, SQLDIFF):
        try:
            required(program)
        except Absent as reason:
            missing += 1
            print(f"{reason}; its tests {'fail' if strict() else 'are skipped'}", file=sys.stderr)
    return 1 if missing and strict() else 0


if __name__ == "__main__":
    raise SystemExit(main())
