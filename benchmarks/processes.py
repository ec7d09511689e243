"""Other processes: the ones that work for a benchmark, and what the system tells about any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
# Longer than any single thing that is measured.
PATIENCE_SECONDS = 300.0
_CALM_SECONDS = 0.1


class Child:
    """A module of this package in a process of its own, asked in lines of JSON.

    Args:
        module: its name in the package.
        arguments: of its command line.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, **request: Any) -> None:
        """Asks something without waiting for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()

    def receive(self) -> Any:
        """Waits for an answer.

        Raises:
            RuntimeError: it ended instead.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"benchmarks.{self._module} ended with {self._process.wait()}")
        return json.loads(line)

    def ask(self, **request: Any) -> Any:
        """Asks something and waits for the answer."""
        self.send(**request)
        return self.receive()

    def close(self) -> None:
        """Ends it; idempotent."""
        self._process.kill()
        with self._process:
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def reader_of(pid: int) -> int:
    """Finds the reader process that a process has started.

    Raises:
        RuntimeError: it has none, or several.
    """
    found = [child for child in _children(pid) if b"watcher.sqlite.process" in _command(child)]
    if len(found) != 1:
        raise RuntimeError(f"process {pid} has {len(found)} reader processes")
    return found[0]


def _children(pid: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            status = _read(entry / "stat")
            # The name in parentheses may hold anything; behind it come state and parent.
            if status and int(status.rpartition(b")")[2].split()[1]) == pid:
                yield int(entry.name)


def _command(pid: int) -> bytes:
    return _read(Path("/proc", str(pid), "cmdline"))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        # It has ended since it was listed.
        return b""


def processor_seconds(pid: int) -> float:
    """Time a process has spent on processors, to the nanosecond, over all its threads."""
    tasks = Path("/proc", str(pid), "task")
    spent = [_read(task / "schedstat").split()[0] for task in tasks.iterdir()]
    return sum(int(nanoseconds) for nanoseconds in spent) / 1e9


def anonymous_megabytes(pid: int) -> float:
    """Memory of a process that no file stands behind (RssAnon)."""
    for line in _read(Path("/proc", str(pid), "status")).splitlines():
        if line.startswith(b"RssAnon:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"process {pid} has ended")


def wait_until_calm(pid: int) -> None:
    """Waits until a process has done nothing to speak of for a tenth of a second.

    Raises:
        RuntimeError: it never came to rest.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    before = processor_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(_CALM_SECONDS)
        now = processor_seconds(pid)
        if now - before < 0.01 * _CALM_SECONDS:
            return
        before = now
    raise RuntimeError(f"process {pid} did not come to rest")


class Peak:
    """The most anonymous memory a process was seen to hold, looked at all the time.

    Args:
        pid: its process id.
        seconds: between two looks.
    """

    def __init__(self, pid: int, seconds: float = 0.01) -> None:
        self._pid = pid
        self._seconds = seconds
        self._over = threading.Event()
        self.megabytes = 0.0

    def _look(self) -> None:
        while not self._over.wait(self._seconds):
            self.megabytes = max(self.megabytes, anonymous_megabytes(self._pid))

    @contextmanager
    def watching(self) -> Iterator[Self]:
        """Looks until the block is left."""
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()
            self.megabytes = max(self.megabytes, anonymous_megabytes(self._pid))


def own_processor_seconds() -> float:
    """Time this process has spent on processors."""
    return time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID)


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))
