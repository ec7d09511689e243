"""The command `serve`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvicorn

from watcher.cli.arguments import (
    TOKEN_VARIABLE,
    checked_token,
    excluded,
    history_limits,
    hold_limits,
)
from watcher.cli.demo import ensure_demo_database
from watcher.cli.descriptors import Room, complains_of_lack, room_here
from watcher.cli.fleet import Fleet, is_pattern, named
from watcher.cli.listen import Listener
from watcher.cli.progress import show_first_copy
from watcher.cli.run import ENVIRONMENT, USAGE, Refusal, on_signal
from watcher.hub import Hub
from watcher.sinks.stdout import output_failures, printable
from watcher.web import SignInLinks, create_app
from watcher.web.crossorigin import checked_origin
from watcher.web.links import LIFETIME
from watcher.web.protocol import GuardedWebSocket, guarded_http


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own.

    uvicorn raises a signal again after it has shut down for it, so that the process would end as
    if killed; here Ctrl-C is the ordinary end.
    """

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals to `on_signal`."""
        yield

    def stop(self) -> None:
        """Ends serving; called again, without waiting for clients."""
        # Until the process ends: the requests cut short report only after the server has ended.
        logging.getLogger("uvicorn.error").addFilter(_is_no_expected_end)
        self.force_exit = self.should_exit
        self.should_exit = True


def _is_no_expected_end(record: logging.LogRecord) -> bool:
    """Whether a record is about more than a request that the end of the server cuts short.

    uvicorn counts them in one record, and takes the end of each for an error of the application.
    """
    error = record.exc_info[1] if record.exc_info else None
    cut_short = isinstance(error, asyncio.CancelledError)
    return not cut_short and not record.getMessage().startswith("Cancel ")


async def serve(options: argparse.Namespace, demo_directory: Path) -> None:
    """Serves until it is asked to end.

    Raises:
        Refusal: an argument cannot be used, or the demo database cannot be made.
        WatchError: the address, the database, the state or the output cannot be used.
    """
    token = options.token or _environment_token()
    async with contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(
            contextlib.closing(Listener(options.host, options.port, private=token is None))
        )
        fleet = Fleet(_opener(options), stack)
        served = await _watch(options, fleet, stack, demo_directory)
        # Now the service has its own files open.
        room = room_here(options.max_clients)
        links = SignInLinks()
        app = _application(served, options, token, listener, room.clients, links)
        _collect_rarely()
        server = _Server(_server_config(app, room))
        on_signal(server.stop)
        asyncio.get_running_loop().set_exception_handler(complains_of_lack())
        _print(
            f"Watching {_named(served)}, shown at {listener.url} (Ctrl-C stops it)"
            + ("" if token is None else _invitation(listener, links))
        )
        await stack.enter_async_context(_showing_first_copies(fleet.hubs.values()))
        await server.serve(sockets=listener.sockets)


def _collect_rarely() -> None:
    """Looks for garbage less often.

    Hardly any is in cycles, and what is looked through for it in vain, all that belongs to some
    thousand clients, makes everybody wait.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


def _opener(options: argparse.Namespace) -> Callable[[str, Path], Hub]:
    several = _is_several(options)

    def open_hub(name: str, path: Path) -> Hub:
        state = options.state
        if state is not None and several:
            state /= quote(name, safe="")
        return Hub(
            path,
            state=state,
            poll=options.poll,
            limits=history_limits(options),
            hold=hold_limits(options),
            exclusion=excluded(options),
        )

    return open_hub


def _is_several(options: argparse.Namespace) -> bool:
    return len(options.database) > 1 or any(map(is_pattern, options.database))


async def _watch(
    options: argparse.Namespace,
    fleet: Fleet,
    stack: contextlib.AsyncExitStack,
    demo_directory: Path,
) -> Hub | Mapping[str, Hub]:
    """Begins to watch what was asked for; a single database is served by itself."""
    if not options.database:
        path = _demo_database(demo_directory)
        await fleet.add({path.name: path})
    elif not _is_several(options):
        path = Path(options.database[0])
        await fleet.add({path.name: path})
    else:
        patterns = [text for text in options.database if is_pattern(text)]
        await fleet.add(named(text for text in options.database if text not in patterns))
        await fleet.look(patterns)
        if patterns:
            await stack.enter_async_context(_running(fleet.keep_looking(patterns)))
        return fleet.hubs
    (hub,) = fleet.hubs.values()
    return hub


def _invitation(listener: Listener, links: SignInLinks) -> str:
    """Where a visitor signs in without typing the token."""
    minutes = LIFETIME / 60
    return f", sign in at {listener.url}/login/{links.new()} (once, within {minutes:g} minutes)"


def _named(served: Hub | Mapping[str, Hub]) -> str:
    if isinstance(served, Hub):
        return printable(str(served.path))
    names = [printable(name) for name in sorted(served)]
    return f"{len(names)} databases" + (f" ({', '.join(names)})" if 0 < len(names) <= 5 else "")


@contextlib.asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _showing_first_copies(
    hubs: Iterable[Hub],
) -> contextlib.AbstractAsyncContextManager[None]:
    async def show() -> None:
        for hub in list(hubs):
            await show_first_copy(hub)

    return _running(show())


def _print(sentence: str) -> None:
    with output_failures():
        print(sentence, flush=True)


def _application(
    served: Hub | Mapping[str, Hub],
    options: argparse.Namespace,
    token: str | None,
    listener: Listener,
    max_clients: int,
    links: SignInLinks,
) -> Any:
    origins = _origins(options.allow_origin)
    try:
        return create_app(
            served,
            token=token,
            allow_writes=options.allow_writes or not options.database,
            hosts=listener.hosts | set(options.allow_host),
            origins=origins,
            max_clients=max_clients,
            links=links,
        )
    except ValueError as error:
        raise Refusal(USAGE, f"--allow-host: {error}") from error


def _origins(given: Iterable[str]) -> set[str]:
    try:
        return set(map(checked_origin, given))
    except ValueError as error:
        raise Refusal(USAGE, f"--allow-origin: {error}") from error


def _server_config(app: Any, room: Room) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=guarded_http(room.connections),
        ws=GuardedWebSocket,
        backlog=room.backlog,
        ws_max_size=65536,
        # Compression costs more time than it saves on the way to a client this near.
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        # Its warnings are about malformed requests, which any page in any browser can send.
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )


def _environment_token() -> str | None:
    text = os.environ.get(TOKEN_VARIABLE)
    if not text:
        return None
    try:
        return checked_token(text)
    except argparse.ArgumentTypeError as error:
        raise Refusal(USAGE, f"{TOKEN_VARIABLE}: {error}") from error


def _demo_database(directory: Path) -> Path:
    path = directory / "test.db"
    try:
        ensure_demo_database(path)
    except (OSError, sqlite3.Error) as error:
        raise Refusal(ENVIRONMENT, f"cannot create the demo database {path}: {error}") from error
    return path
