"""The README says what is true: its example runs as it stands, its options exist."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase, Write
from tests.served import ROOT, Lines, environment

README = (ROOT / "README.md").read_text()
COMMAND = [sys.executable, "-m", "watcher"]


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language, "" for those that name none."""
    fenced = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", README, re.MULTILINE | re.DOTALL)
    return [content for named, content in fenced if named == language]


def options_in(help_of: str) -> set[str]:
    text = subprocess.run(
        [*COMMAND, help_of, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return set(re.findall(r"--[a-z-]+", text))


def test_the_example_is_short_and_prints_what_it_claims(
    database: MakeDatabase, write: Write, tmp_path: Path
) -> None:
    (example,) = blocks("python")
    assert len([line for line in example.splitlines() if line]) <= 10
    (claim,) = (block for block in blocks("") if block.startswith("update items {"))
    path = database()
    process = subprocess.Popen(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        lines, printed, deadline = Lines(process.stdout.fileno()), "", time.monotonic() + 20
        # It does not say when it is ready, so the edit is made and taken back until it is seen.
        while printed != claim and process.poll() is None and time.monotonic() < deadline:
            if not printed:
                write(path, "UPDATE items SET value = '123' WHERE id = 1")
                write(path, "UPDATE items SET value = '456' WHERE id = 1")
            printed = lines.next(1)
        process.terminate()
    assert printed == claim


@pytest.mark.parametrize("command", ["serve", "tail"])
def test_every_option_of_the_command_is_told(command: str) -> None:
    told = set(re.findall(r"--[a-z-]+", README))
    assert options_in(command) - {"--help"} <= told


def test_every_option_that_is_told_exists() -> None:
    told = set(re.findall(r"`(--[a-z-]+)", README))
    assert told
    assert told <= options_in("serve") | options_in("tail")


def test_every_make_target_that_is_told_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = set(
        re.findall(r"\bmake ([a-z]+)\b", " ".join(blocks("") + re.findall(r"`.*?`", README)))
    )
    assert {"run", "test", "check", "bench", "soak"} <= told
    assert told <= targets


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
