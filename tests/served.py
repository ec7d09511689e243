"""The server as users run it: a process of its own, started from the command line."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 20.0
STOP_SECONDS = 2.0


def starved(pid: int) -> float:
    """Seconds the main thread of a process has waited for a CPU, 0 where Linux does not tell.

    See Documentation/scheduler/sched-stats.rst in Linux. What a promise counts in seconds holds
    for a program that is given a CPU; the tests share theirs with each other.
    """
    try:
        _, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    except OSError:
        return 0.0
    return int(waited) / 1e9


def environment(**changes: str) -> dict[str, str]:
    """What a started process sees: this checkout, and none of the user's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WATCHER_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **changes}


def reader_of(process: subprocess.Popen[bytes]) -> int:
    """Process id of the reader of a program that watches one database."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return int(children.split()[0])


class Lines:
    """Reads lines from a descriptor, never waiting longer than it is told to.

    Args:
        descriptor: the reading end of a pipe or terminal; it is not closed here.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = b""

    def next(self, seconds: float) -> str:
        """Gives the next line; "" at the end, or where it does not come within so many seconds."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._descriptor], [], [], left)[0]:
                return ""
            data = os.read(self._descriptor, 65536)
            if not data:
                return ""
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return f"{line.decode()}\n"


class Served:
    """One `python server.py`, and how to end it and start it again.

    Args:
        directory: where its script, its errors and, without a database, the demo database lie.
        database: the file to watch, None for the demo database.
        state: its private state directory.
        options: further options of the command line.
        port: where to listen, 0 for any free port; later starts take the same port again.
        descriptors: files the process may have open at most, None for as many as this one.
    """

    def __init__(
        self,
        directory: Path,
        database: Path | None,
        *,
        state: Path,
        options: tuple[str, ...] = (),
        port: int = 0,
        variables: dict[str, str] | None = None,
        descriptors: int | None = None,
    ) -> None:
        self.database = database or directory / "test.db"
        self.state = state
        self.port = port
        self.start_line = ""
        self.errors = directory / "server.errors"
        self._named = database
        self._options = options
        self._descriptors = descriptors
        self._environment = environment(**(variables or {}))
        # The demo database lies beside server.py, and must not lie in this checkout.
        self._script = Path(shutil.copy(ROOT / "server.py", directory))
        self.process = self._start()

    @property
    def url(self) -> str:
        """The address of the page, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Asks the server to end and sees that it does so cleanly and in time."""
        if self.process.poll() is None:
            asked, before = time.monotonic(), starved(self.process.pid)
            waited = before
            self.process.send_signal(number)
            while self.process.poll() is None:
                waited = max(waited, starved(self.process.pid))
                if time.monotonic() > asked + STOP_SECONDS * 5:
                    self.kill()
                    raise AssertionError("the server did not end")
                time.sleep(0.005)
            taken = time.monotonic() - asked - (waited - before)
            assert taken <= STOP_SECONDS, f"the server took {taken:.1f} s to end"
        self._close()
        assert self.process.returncode == 0, self.errors.read_text()
        assert "Traceback" not in self.errors.read_text(), self.errors.read_text()

    def kill(self) -> None:
        """Ends the server as a crash does; a clean end is no longer expected of it."""
        self.process.kill()
        self.process.wait()
        self._close()

    def restart(self) -> None:
        """Stops the server if it runs and starts it again at the same place."""
        if not self.closed:
            self.stop()
        self.process = self._start()

    @property
    def closed(self) -> bool:
        """Whether it has been stopped or killed and not started again."""
        return self.process.stdout is None or self.process.stdout.closed

    def _close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(self._script), "--port", str(self.port)]
        command += ["--state", str(self.state), *self._options]
        if self._named is not None:
            command += ["--", str(self._named)]
        if self._descriptors is not None:
            command = ["sh", "-c", f'ulimit -n {self._descriptors}; exec "$@"', "sh", *command]
        with self.errors.open("w") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=self._script.parent,
                env=self._environment,
            )
        assert process.stdout is not None
        self.start_line = Lines(process.stdout.fileno()).next(START_SECONDS)
        found = re.search(r"http://\S+:(\d+) \(", self.start_line)
        if found is None:
            process.kill()
            process.communicate()
            raise AssertionError(f"no start line: {self.start_line!r} {self.errors.read_text()}")
        self.port = int(found[1])
        return process
