"""The first copy: raw, in steps, without a lock; torn at worst, and never taken for whole."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from tests.conftest import MakeDatabase, Write
from tests.faults.program import Program
from tests.oracle.contents import contents_of_file, integrity
from watcher.sqlite.fileformat import normalise_first_page, parse_header
from watcher.sqlite.files import RawFile
from watcher.sqlite.first_copy import FirstCopy
from watcher.sqlite.shadow import Pending, Shadow
from watcher.sqlite.whole_file import compare_file, nothing_newer

MIB = 1 << 20
DESCRIPTORS = Path("/proc/self/fd")
MEMORY = Path("/dev/shm")  # noqa: S108  # a file system that every Linux has beside its disk
# Some 12 MiB: a dozen pieces.
LARGE = """
CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT NOT NULL, value);
WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<1200)
INSERT INTO items SELECT i, 'n' || i, randomblob(10000) FROM n;
"""


class Copying(NamedTuple):
    """A first copy and what it works on; each of its steps copies one piece."""

    main: RawFile
    shadow: Shadow
    pending: Pending
    copy: FirstCopy

    def complete(self) -> None:
        """Takes all steps."""
        while self.copy.advance() < 1.0:
            pass

    def page_count(self) -> int:
        """Size of the watched file in whole pages; it is closed, and has no log."""
        size = os.fstat(self.main.descriptor).st_size
        return -(-size // parse_header(self.main.read(100, 0)).page_size)

    def compared(self) -> list[int]:
        """Puts what differs from the watched file, which is closed; the numbers of these pages."""
        self.pending.begin(parse_header(self.main.read(100, 0)).page_size)
        self.pending.page_count = self.page_count()
        compare_file(self.main, self.pending.page_count, self.shadow, self.pending, nothing_newer)
        return sorted(self.pending.fresh_pages())

    def repair(self) -> None:
        """Does what follows a first copy: compares, and copies what differs."""
        self.compared()
        self.pending.settle()
        self.shadow.apply(self.pending)


class Start(Protocol):
    """Opens a first copy of a file into a new directory."""

    def __call__(self, path: Path, directory: Path | None = None) -> Copying: ...


@pytest.fixture
def copying(tmp_path: Path) -> Iterator[Start]:
    """Opens a first copy of a file into a new directory."""
    with ExitStack() as stack:

        def start(path: Path, directory: Path | None = None) -> Copying:
            directory = directory or tmp_path / "state"
            directory.mkdir()
            main = stack.enter_context(closing(RawFile(path)))
            shadow = stack.enter_context(closing(Shadow(directory)))
            pending = stack.enter_context(closing(Pending(directory, shadow)))
            return Copying(main, shadow, pending, FirstCopy(main, shadow, seconds=0))

        yield start


def made_fit(data: bytes) -> bytes:
    """A whole database as its private copy holds it."""
    size = parse_header(data).page_size
    return normalise_first_page(data[:size], len(data) // size) + data[size:]


# What is copied


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_the_copy_is_the_file(
    page_size: int, mode: str, database: MakeDatabase, copying: Start
) -> None:
    """Byte for byte but for the first page, so that a comparison finds nothing."""
    before = f"PRAGMA page_size={page_size}; VACUUM;"
    path = database(sql=f"{before} {LARGE} PRAGMA journal_mode={mode}")
    made = copying(path)
    assert parse_header(path.read_bytes()).page_size == page_size
    made.complete()
    assert made.shadow.path.read_bytes() == made_fit(path.read_bytes())
    assert (made.shadow.page_size, made.shadow.page_count) == (page_size, made.page_count())
    assert made.compared() == []
    assert contents_of_file(made.shadow.path) == contents_of_file(path)


def test_a_step_copies_a_piece(database: MakeDatabase, copying: Start) -> None:
    """It tells the part that is done, which grows up to 1; until then the shadow has no pages."""
    made = copying(database(sql=LARGE))
    parts = [made.copy.advance()]
    while parts[-1] < 1.0:
        assert (made.shadow.page_size, made.shadow.page_count) == (0, 0)
        parts.append(made.copy.advance())
    assert len(parts) >= 10
    assert sorted(set(parts)) == parts
    assert parts[0] > 0
    assert made.copy.advance() == 1.0


def test_holes_stay_holes(database: MakeDatabase, copying: Start) -> None:
    """A sparse file of a gigabyte is copied at once, and its copy takes no room on the disk."""
    path = database(sql=LARGE)
    os.truncate(path, 1 << 30)
    with path.open("rb") as file:
        data = file.read(16 * MIB)
    made = copying(path)
    steps = 1
    while made.copy.advance() < 1.0:
        steps += 1
    assert steps < 20
    copied = made.shadow.path.stat()
    assert copied.st_size == 1 << 30
    assert copied.st_blocks * 512 < 32 * MIB
    found = made.shadow.read(16 * MIB, 0)
    assert found[4096:] == data[4096:]
    assert found[:4096] == normalise_first_page(data[:4096], (1 << 30) // 4096)


def test_a_hole_between_data_is_copied_as_zeros(database: MakeDatabase, copying: Start) -> None:
    """Whatever the file system tells of holes, the bytes are the same."""
    path = database(sql=LARGE)
    with path.open("r+b") as file:
        file.truncate(40 * MIB)
        file.seek(39 * MIB)
        file.write(b"x" * 4096)
    made = copying(path)
    made.complete()
    assert made.shadow.path.read_bytes() == made_fit(path.read_bytes())


@pytest.mark.parametrize("excess", [1, 100, 4095])
def test_a_part_of_a_page_is_filled_with_zeros(
    excess: int, database: MakeDatabase, copying: Start
) -> None:
    """As the captures see it, so that they find no difference."""
    path = database(sql=LARGE)
    with path.open("ab") as file:
        file.write(b"y" * excess)
    made = copying(path)
    made.complete()
    assert made.shadow.path.stat().st_size == made.page_count() * 4096
    assert made.compared() == []


def test_less_than_a_page_is_one_page(database: MakeDatabase, copying: Start) -> None:
    """A database that was cut short within its first page has one."""
    path = database()
    os.truncate(path, 1000)
    made = copying(path)
    made.complete()
    assert (made.shadow.page_count, made.shadow.path.stat().st_size) == (1, 4096)
    assert made.compared() == []


# What cannot be copied


@pytest.mark.parametrize("content", [None, b"", b"no database" * 1000])
def test_what_is_no_database_is_not_copied(
    content: bytes | None, tmp_path: Path, write: Write, copying: Start
) -> None:
    """There is nothing to do as long as there is none; a later one is copied."""
    path = tmp_path / "app.db"
    if content is not None:
        path.write_bytes(content)
    made = copying(path)
    assert made.copy.advance() == 1.0
    assert (made.shadow.path.stat().st_size, made.shadow.page_count) == (0, 0)
    path.unlink(missing_ok=True)
    write(path, LARGE)
    assert made.copy.advance() < 1.0
    made.complete()
    assert made.compared() == []


# The file changes meanwhile


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_torn_copy_is_repaired(mode: str, database: MakeDatabase, copying: Start) -> None:
    """Another process commits between the steps; the comparison finds just what it changed."""
    path = database(mode=mode, sql=LARGE)
    made = copying(path)
    with Program(path) as writer:
        while made.copy.advance() < 1.0:
            # The first pages, copied by now, and new ones at the end.
            writer.run(
                "UPDATE items SET value = randomblob(10000) WHERE id < 20",
                "INSERT INTO items(name, value) VALUES ('new', randomblob(10000))",
                "PRAGMA wal_checkpoint(TRUNCATE)",
            )
    differing = made.compared()
    assert 0 < len(differing) < made.page_count() / 2
    made.repair()
    assert made.shadow.path.read_bytes() == made_fit(path.read_bytes())
    assert integrity(made.shadow.path) == "ok"


def test_a_file_that_shrinks_is_copied_as_far_as_it_goes(
    database: MakeDatabase, write: Write, copying: Start
) -> None:
    """Nothing stays behind its new end."""
    path = database(sql=LARGE)
    made = copying(path)
    assert made.copy.advance() < 1.0
    write(path, "DELETE FROM items WHERE id > 20; VACUUM")
    made.complete()
    assert made.shadow.page_count == made.page_count() < 100
    assert made.shadow.path.stat().st_size == path.stat().st_size
    made.repair()
    assert made.shadow.path.read_bytes() == made_fit(path.read_bytes())


def test_a_file_that_grows_is_copied_to_its_new_end(
    database: MakeDatabase, write: Write, copying: Start
) -> None:
    """The part that is done does not go back meanwhile."""
    path = database(sql=LARGE)
    made = copying(path)
    parts = [made.copy.advance()]
    write(path, "INSERT INTO items SELECT id + 10000, name, value FROM items")
    while parts[-1] < 1.0:
        parts.append(made.copy.advance())
    assert sorted(parts) == parts
    assert made.shadow.page_count == made.page_count() > 4500
    made.repair()
    assert made.shadow.path.read_bytes() == made_fit(path.read_bytes())


def test_other_pages_meanwhile_are_of_the_new_size(
    database: MakeDatabase, write: Write, copying: Start
) -> None:
    """VACUUM gave the database pages of another size while it was copied."""
    path = database(sql=LARGE)
    made = copying(path)
    made.copy.advance()
    write(path, "PRAGMA page_size=1024; VACUUM")
    made.complete()
    made.repair()
    assert made.shadow.page_size == 1024
    assert made.shadow.path.read_bytes() == made_fit(path.read_bytes())


def test_a_file_that_becomes_no_database_leaves_nothing(
    database: MakeDatabase, copying: Start
) -> None:
    """What was copied of it before is dropped."""
    path = database(sql=LARGE)
    made = copying(path)
    assert made.copy.advance() < 1.0
    os.truncate(path, 0)
    made.complete()
    assert (made.shadow.path.stat().st_size, made.shadow.page_count) == (0, 0)


def test_writers_meet_no_lock(database: MakeDatabase, copying: Start) -> None:
    """One that waits for nobody gets every lock there is, and no descriptor is opened."""
    path = database(sql=LARGE)
    made = copying(path)
    made.copy.advance()
    opened = set(DESCRIPTORS.iterdir())
    with Program(path, timeout=0) as writer:
        while made.copy.advance() < 1.0:
            writer.run("BEGIN EXCLUSIVE", "UPDATE items SET name='z' WHERE id=1", "COMMIT")
    assert set(DESCRIPTORS.iterdir()) == opened


# Ways of copying


UNSUPPORTED = [
    errno.EOPNOTSUPP,
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOTTY,
    errno.EPERM,
    errno.ENOSYS,
]


@pytest.mark.parametrize("number", UNSUPPORTED)
def test_where_the_kernel_cannot_it_is_read_and_written(
    number: int, database: MakeDatabase, copying: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A way that the kernel or file system refuses is tried once."""
    tried: list[str] = []

    def refuse(name: str) -> None:
        tried.append(name)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "ioctl", lambda *_: refuse("reflink"))
    monkeypatch.setattr(os, "copy_file_range", lambda *_: refuse("in kernel"))
    path = database(sql=LARGE)
    made = copying(path)
    made.complete()
    assert tried == ["reflink", "in kernel"]
    assert made.compared() == []


def test_a_kernel_that_copies_nothing_is_not_believed(
    database: MakeDatabase, copying: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems say 0 bytes for what they cannot do, which is not the end of the file."""
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    made = copying(database(sql=LARGE))
    made.complete()
    assert made.compared() == []


def test_between_file_systems_it_is_copied_too(database: MakeDatabase, copying: Start) -> None:
    """The state may lie on another volume than the database."""
    path = database(sql=LARGE)
    if MEMORY.stat().st_dev == path.stat().st_dev:
        pytest.skip("there is no second file system here")
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        made = copying(path, Path(directory) / "state")
        made.complete()
        assert made.compared() == []


def test_a_reflink_is_the_whole_copy(
    database: MakeDatabase, copying: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where blocks can be shared not a byte is copied, and one step is all."""

    def clone(target: int, request: int, source: int) -> int:
        assert request == 0x40049409
        os.pwrite(target, os.pread(source, 1 << 30, 0), 0)
        return 0

    def never(*_: object) -> int:
        raise AssertionError

    monkeypatch.setattr(fcntl, "ioctl", clone)
    monkeypatch.setattr(os, "copy_file_range", never)
    path = database(sql=LARGE)
    made = copying(path)
    assert made.copy.advance() == 1.0
    assert made.shadow.path.read_bytes() == made_fit(path.read_bytes())


@pytest.mark.parametrize("number", [errno.EIO, errno.EDQUOT])
def test_a_failure_is_no_reason_for_another_way(
    number: int, database: MakeDatabase, copying: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes out, nothing stays behind, and the next call begins anew."""
    made = copying(database(sql=LARGE))
    assert made.copy.advance() < 1.0

    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "copy_file_range", fail)
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            made.copy.advance()
    assert caught.value.errno == number
    assert made.shadow.path.stat().st_size == 0
    made.complete()
    assert made.compared() == []


# A full volume


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A volume of 20 MiB."""
    path = tmp_path / "volume"
    path.mkdir()
    command: Sequence[str] = ("mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(path))
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small volume cannot be mounted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_without_room_for_it_none_is_taken(
    volume: Path, database: MakeDatabase, copying: Start
) -> None:
    """The writers may need it; when there is enough the copy is made."""
    path = database(sql=LARGE)
    ballast = volume / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 12 * MIB)
    made = copying(path, volume / "state")
    before = os.statvfs(volume).f_bavail
    for _ in range(2):
        with pytest.raises(OSError, match="No space left") as caught:
            made.copy.advance()
        assert caught.value.errno == errno.ENOSPC
        assert os.statvfs(volume).f_bavail == before
    ballast.unlink()
    made.complete()
    assert made.compared() == []


def test_a_volume_that_fills_meanwhile_gets_its_room_back(
    volume: Path, database: MakeDatabase, copying: Start
) -> None:
    """The failure comes out as it is; when there is room again the copy begins anew."""
    path = database(sql=LARGE)
    made = copying(path, volume / "state")
    assert made.copy.advance() < 1.0
    ballast = volume / "ballast"
    with ballast.open("wb") as file:
        found = os.statvfs(volume)
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize)
    with pytest.raises(OSError, match="No space left") as caught:
        made.copy.advance()
    assert caught.value.errno == errno.ENOSPC
    assert os.statvfs(volume).f_bavail * os.statvfs(volume).f_frsize >= MIB
    ballast.unlink()
    made.complete()
    assert made.compared() == []


# A kill meanwhile


@pytest.mark.parametrize("was_taken", [True, False])
def test_half_a_copy_passes_for_no_state_of_before(
    was_taken: bool, tmp_path: Path, database: MakeDatabase, write: Write
) -> None:
    """A note of an earlier copy of the same size does not know it once that is forgotten."""
    path = database(sql=LARGE)
    directory = tmp_path / "state"
    directory.mkdir()
    with (
        closing(RawFile(path)) as main,
        closing(Shadow(directory)) as shadow,
        closing(Pending(directory, shadow)) as pending,
    ):
        made = Copying(main, shadow, pending, FirstCopy(main, shadow))
        made.complete()
        made.compared()
        pending.settle()
        note = pending.note()
        if was_taken:
            shadow.apply(pending)
        # The state is found not to be the one the note speaks of, and copied again.
        shadow.clear()
        pending.forget()
        write(path, "UPDATE items SET name='later' WHERE id=1")
        Copying(main, shadow, pending, FirstCopy(main, shadow)).complete()
    with closing(Shadow(directory)) as shadow, closing(Pending(directory, shadow)) as pending:
        assert shadow.page_count > 0
        assert not shadow.recover(pending, note)


def test_what_is_copied_can_be_opened(database: MakeDatabase, copying: Start) -> None:
    """SQLite reads the copy of a database with a log without asking for the log."""
    path = database(mode="wal", sql=LARGE)
    made = copying(path)
    made.complete()
    with closing(sqlite3.connect(f"file:{made.shadow.path}?mode=ro", uri=True)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert db.execute("SELECT count(*) FROM items").fetchone() == (1200,)
    assert sorted(found.name for found in made.shadow.path.parent.iterdir()) == [
        "pending",
        "shadow.db",
    ]
