"""What can be said on the command line."""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path

from watcher.history import Limits
from watcher.hub import ROW_OPS, Filter
from watcher.sqlite.exclusion import Exclusion
from watcher.sqlite.options import HoldLimits

__version__ = "0.1.0"

TOKEN_VARIABLE = "WATCHER_TOKEN"  # noqa: S105  # the name of a variable, not a secret

_SERVE = "Watches a SQLite file and serves every change: a live page, WebSocket and HTTP."
_TAIL = """\
Prints the changes of a SQLite file as they happen, until Ctrl-C.

On a terminal: a readable line for each changed row. Into a pipe or file: a JSON line for each
changeset, the `changes` message of the WebSocket protocol. A changeset of more than 1,000 changes
or 256 KiB comes in parts, one line each; the last one says "last": true. When the stream cannot go
on from where it was, a `reset` line says why; content that follows it ends with a `ready` line.
The state of the database (locked, missing, ...) is told in sentences on standard error."""
_EXIT = "exit codes: 0 ended by Ctrl-C, 2 the call is wrong, 3 the machine stands in the way"


def serve_parser(program: str) -> argparse.ArgumentParser:
    """Describes a program that does what `sqlite-watcher serve` does.

    Args:
        program: its name in help and messages.
    """
    alone = argparse.ArgumentParser(program, description=_SERVE, epilog=_EXIT)
    _add_serve_arguments(alone)
    return alone


def parser() -> argparse.ArgumentParser:
    """Describes the command `sqlite-watcher`."""
    whole = argparse.ArgumentParser(
        "sqlite-watcher",
        description="Watches a SQLite file from outside: every commit as row-level changes.",
        epilog=_EXIT,
    )
    whole.add_argument("--version", action="version", version=f"sqlite-watcher {__version__}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve", help="serve a live page, WebSocket and HTTP", description=_SERVE, epilog=_EXIT
    )
    _add_serve_arguments(serve)
    tail_parser = commands.add_parser(
        "tail",
        help="print changes as lines",
        description=_TAIL,
        epilog=_EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_tail_arguments(tail_parser)
    return whole


def _add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "database",
        nargs="*",
        metavar="DATABASE",
        help="an existing SQLite file; without it the demo database test.db is made and watched. "
        "Several, each PATH or NAME=PATH, or a quoted pattern such as 'data/*.db', are served "
        "below /db/NAME",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=8000,
        help="port to listen on, 0 for any free one (default: %(default)s)",
    )
    parser.add_argument(
        "--token",
        type=checked_token,
        help="secret that every request must show, needed to listen beyond this machine; "
        f"better given in the environment as {TOKEN_VARIABLE}, where other users cannot see it",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="a further name under which browsers reach this server; may be repeated",
    )
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="origin of pages elsewhere that may use this server, such as "
        "https://app.example.org; may be repeated",
    )
    parser.add_argument(
        "--max-clients",
        type=_count,
        default=10_000,
        metavar="N",
        help="how many WebSockets and streams there may be at once, as far as the limit of open "
        "files allows (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-writes",
        action="store_true",
        help="let HTTP write rows of every watched table of DATABASE, also by /add and /update "
        "(the demo database allows it)",
    )
    parser.add_argument(
        "--tables",
        type=_names,
        metavar="A,B",
        help="watch only these tables, separated by commas; nothing of any other is sent or kept "
        'in the history. "a,b" in quotes is one name',
    )
    _add_engine_arguments(parser)


def _add_tail_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("database", type=Path, metavar="DATABASE", help="an existing SQLite file")
    parser.add_argument(
        "--tables",
        type=_names,
        metavar="A,B",
        help='only these tables, separated by commas; "a,b" in quotes is one name',
    )
    parser.add_argument(
        "--columns",
        type=_names,
        metavar="A,B",
        help="only these columns, each COLUMN or TABLE.COLUMN, and those of the key",
    )
    parser.add_argument(
        "--ops",
        type=_operations,
        metavar="insert,update,delete",
        help="only these operations on rows",
    )
    parser.add_argument(
        "--where",
        metavar="SQL",
        help="only rows of which this expression over their columns is true; one that comes to "
        "fulfil it is an insert, one that no longer does a delete",
    )
    parser.add_argument(
        "--since",
        metavar="POSITION",
        help="first what happened after this position, taken from an earlier line",
    )
    parser.add_argument(
        "--snapshot", action="store_true", help="first the present rows, each as an insert"
    )
    _add_engine_arguments(parser)


def _add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--exclude",
        type=_names,
        action="extend",
        default=[],
        metavar="NAMES",
        help="tables, and columns as TABLE.COLUMN, of which nothing is sent or kept in the "
        "history, separated by commas; may be repeated. With other names than last time the "
        "history begins anew",
    )
    parser.add_argument(
        "--state",
        type=_state,
        metavar="DIR",
        help="where the private copy and the history are kept "
        "(default: a directory for each database in the user's state directory)",
    )
    parser.add_argument(
        "--keep-seconds",
        type=_age,
        default=Limits().seconds,
        metavar="SECONDS",
        help="how old the history may become that clients can go on from (default: %(default)g)",
    )
    parser.add_argument(
        "--keep-changesets",
        type=_count,
        default=Limits().changesets,
        metavar="N",
        help="how many changesets it may hold (default: %(default)s)",
    )
    parser.add_argument(
        "--keep-bytes",
        type=_bytes,
        default=Limits().bytes,
        metavar="BYTES",
        help="how large it may become (default: %(default)s)",
    )
    parser.add_argument(
        "--poll",
        type=_seconds,
        metavar="SECONDS",
        help="ask SQLite itself this often; for where files cannot be watched. "
        "A lower grade: each look takes a SHARED lock for a moment",
    )
    parser.add_argument(
        "--hold-seconds",
        type=_seconds_or_never,
        default=HoldLimits().seconds,
        metavar="SECONDS",
        help="when far behind a fast writer, keep the write-ahead log from being restarted, and "
        "so its commits from being merged, for at most so long; 0 for never (default: %(default)g)",
    )
    parser.add_argument(
        "--hold-bytes",
        type=_bytes,
        default=HoldLimits().bytes,
        metavar="BYTES",
        help="and only while the log is smaller than this; 0 for never (default: %(default)s)",
    )


def wanted(options: argparse.Namespace) -> Filter:
    """Takes from the parsed arguments what of the changes is wanted."""
    return Filter.of(
        tables=options.tables, columns=options.columns, ops=options.ops, where=options.where
    )


def history_limits(options: argparse.Namespace) -> Limits:
    """Takes from the parsed arguments how much history is kept."""
    return Limits(options.keep_seconds, options.keep_changesets, options.keep_bytes)


def hold_limits(options: argparse.Namespace) -> HoldLimits:
    """Takes from the parsed arguments how far the log may be held."""
    return HoldLimits(options.hold_seconds, options.hold_bytes)


def excluded(options: argparse.Namespace) -> Exclusion:
    """Takes from the parsed arguments of `serve` what nobody gets."""
    return Exclusion.of(tables=options.tables, exclude=options.exclude)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"not a port (0 to 65535): {text!r}")
    return int(text)


def checked_token(text: str) -> str:
    """Takes a token that can travel in a header and is too long to be guessed.

    Raises:
        argparse.ArgumentTypeError: it is not such a token.
    """
    if not (text.isascii() and text.isprintable() and " " not in text and len(text) >= 16):
        raise argparse.ArgumentTypeError("a token is 16 or more ASCII characters without spaces")
    return text


def _state(text: str) -> Path:
    # The history in it is opened by a name that is text, unlike the database.
    if text.encode(errors="replace").decode() != text:
        raise argparse.ArgumentTypeError("the name of the directory is not UTF-8")
    return Path(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"not a number of seconds (up to 3600): {text!r}")
    return seconds


def _seconds_or_never(text: str) -> float:
    return 0.0 if text == "0" else _seconds(text)


def _age(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < 1e10:
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text!r}")
    return seconds


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 19 and int(text)):
        raise argparse.ArgumentTypeError(f"not a number from 1: {text!r}")
    return int(text)


def _bytes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"not a number of bytes: {text!r}")
    return int(text)


def _names(text: str) -> list[str]:
    try:
        (names,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as error:
        raise argparse.ArgumentTypeError(f"not a list of names: {text!r}") from error
    if not names:
        raise argparse.ArgumentTypeError("it names nothing")
    if text.encode(errors="replace").decode() != text:
        raise argparse.ArgumentTypeError("a name is not UTF-8")
    return names


def _operations(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in ROW_OPS:
            raise argparse.ArgumentTypeError(f"{name!r} is not insert, update or delete")
    return names
