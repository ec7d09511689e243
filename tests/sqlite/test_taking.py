"""Events are taken while a step reads the rows of many pages."""

from __future__ import annotations

import threading
import time

import pytest

from watcher.sqlite.taking import Taking


def test_events_are_taken_while_the_block_is_busy() -> None:
    """Again and again, in another thread, and never after the block."""
    threads: list[int] = []
    taking = Taking(lambda: threads.append(threading.get_ident()))
    with taking.meanwhile(100):
        deadline = time.monotonic() + 20
        while len(threads) < 3:
            assert time.monotonic() < deadline
    assert threading.get_ident() not in threads
    taken = len(threads)
    with taking.meanwhile(1):
        time.sleep(0.01)
    assert len(threads) == taken
    taking.close()
    taking.close()


def test_what_fails_in_the_thread_is_raised() -> None:
    """An error is not lost in a thread, and the block is still left in order."""
    failed = threading.Event()

    def take() -> None:
        failed.set()
        raise OSError(24, "too many")

    taking = Taking(take)
    with pytest.raises(OSError, match="too many"), taking.meanwhile(100):
        assert failed.wait(20)
    taking.close()


def test_without_a_thread_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no more threads can be had the block is run all the same, and the next one too."""
    taken = threading.Event()
    taking = Taking(taken.set)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError(f"can't start {thread.name}")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with taking.meanwhile(100):
            pass
    assert not taken.is_set()
    with taking.meanwhile(100):
        assert taken.wait(20)
    taking.close()
