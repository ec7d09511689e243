"""How a stream ends that nobody closes: quietly, and nothing of it stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase
from tests.served import environment

# Each prints the process id of its reader; the program below awaits the reader's end.
_LEFT_BY_BREAK = """
    async for changeset in watch(path, snapshot=True):
        print(child(), flush=True)
        break
"""
_LEFT_BY_ERROR = """
    try:
        async for changeset in watch(path, snapshot=True):
            print(child(), flush=True)
            raise KeyError
    except KeyError:
        pass
"""
_LEFT_BY_CANCELLATION = """
    begun = asyncio.Event()
    async def iterate():
        async for changeset in watch(path, snapshot=True):
            if not begun.is_set():
                print(child(), flush=True)
                begun.set()
    task = asyncio.create_task(iterate())
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    del task
"""
_LEFT_IN_A_CYCLE = """
    stream = watch(path, snapshot=True)
    await anext(stream)
    print(child(), flush=True)
    cycle = [stream]
    cycle.append(cycle)
    del stream, cycle
    gc.collect()
"""
_AT_ONCE = ""
_A_MOMENT_LATER = "    await asyncio.sleep(0.001)\n"
# Its end has been asked for, and the task that sees to it has not begun.
_SOME_STEPS_LATER = "    for _ in range(3):\n        await asyncio.sleep(0)\n"
_AFTER_ITS_END = """
    while child() or os.listdir(tempfile.gettempdir()):
        await asyncio.sleep(0.01)
    gc.collect()
    print("gone", flush=True)
"""

_PROGRAM = """
import asyncio, gc, os, sys, tempfile
from pathlib import Path
from watcher import watch

path = sys.argv[1]

def child():
    return "".join(Path("/proc/self/task").joinpath(str(os.getpid()), "children").read_text())

async def main():
{main}

{run}
"""


def ran(path: Path, *parts: str, run: str = "asyncio.run(main())") -> tuple[list[str], str]:
    """Runs a program that leaves a stream; what it printed, and its standard error.

    Its reader must have ended by then, and its temporary files must be gone.
    """
    temporary = path.parent / "temporary"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(main="".join(parts), run=run), str(path)],
        env=environment(TMPDIR=str(temporary), PYTHONWARNINGS="always::ResourceWarning"),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    reader, *rest = done.stdout.split()
    # A zombie waits for its parent, which has ended; init may need a moment to see it.
    assert not Path(f"/proc/{reader}/exe").exists()
    assert list(temporary.iterdir()) == []
    return rest, done.stderr


def is_one_warning(errors: str) -> bool:
    """Whether this is the warning that says what to do, and nothing else."""
    told, source, *rest = errors.splitlines()
    hint = "ResourceWarning: Enable tracemalloc to get the object allocation traceback"
    return "async with watch(" in told and "warn" in source and rest in ([], [hint])


pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="processes are looked up where only Linux shows them"
)


@pytest.mark.parametrize(
    "left",
    [_LEFT_BY_BREAK, _LEFT_BY_ERROR, _LEFT_BY_CANCELLATION, _LEFT_IN_A_CYCLE],
    ids=["break", "error", "cancellation", "cycle"],
)
@pytest.mark.parametrize(
    "then",
    [_AT_ONCE, _SOME_STEPS_LATER, _A_MOMENT_LATER, _AFTER_ITS_END],
    ids=["at-once", "some-steps-later", "a-moment-later", "later"],
)
def test_a_stream_that_is_left_ends_with_one_warning(
    database: MakeDatabase, left: str, then: str
) -> None:
    """The program may end before the reader has, or go on: it is told once what it should do."""
    printed, errors = ran(database(), left, then)
    assert printed == (["gone"] if then is _AFTER_ITS_END else [])
    assert is_one_warning(errors), errors


def test_a_stream_that_outlives_its_loop_leaves_no_process(database: MakeDatabase) -> None:
    """The loop was closed under it, so that nothing can be awaited any more."""
    run = """
async def begin():
    stream = watch(path, snapshot=True)
    await anext(stream)
    print(child(), flush=True)
    return stream

loop = asyncio.new_event_loop()
stream = loop.run_until_complete(begin())
loop.close()
del stream
while child():
    gc.collect()
print("gone", flush=True)
"""
    printed, errors = ran(database(), "    pass", run=run)
    assert printed == ["gone"]
    assert "async with watch(" in errors


def test_a_stream_that_is_closed_ends_without_a_warning(database: MakeDatabase) -> None:
    """The form that is recommended, left by `break`."""
    closed = """
    async with watch(path, snapshot=True) as stream:
        async for changeset in stream:
            print(child(), flush=True)
            break
"""
    assert ran(database(), closed, _AFTER_ITS_END) == (["gone"], "")
