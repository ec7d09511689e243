"""Where the file lies and what it is called: network file systems, hard links."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase, Write
from tests.faults.conftest import StartProgram, absent
from tests.faults.following import follow
from tests.faults.running import Running
from tests.faults.watched import Watched
from watcher.sqlite.filesystem import is_remote, kind_at, remote_kind, warning

HEAD = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n"


def mount(point: str, kind: str, optional: str = "") -> bytes:
    """A line of `/proc/self/mountinfo`."""
    return f"36 35 98:0 / {point} rw,noatime {optional}- {kind} server:/data rw\n".encode()


@pytest.mark.fault("D9")
@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "fuse.sshfs"])
def test_a_network_file_system_is_known_by_its_type(kind: str) -> None:
    assert is_remote(kind)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "fuseblk", "zfs"])
def test_a_disk_of_this_machine_is_none(kind: str) -> None:
    assert not is_remote(kind)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/app.db", "ext4"),
        ("/net/app.db", "nfs4"),
        ("/net/deep/down/app.db", "nfs4"),
        ("/net/disk/app.db", "xfs"),
        ("/network/app.db", "ext4"),
        ("/net", "nfs4"),
        ("/with space\\and\ttab/app.db", "cifs"),
        ("/hidden/app.db", "tmpfs"),
    ],
)
def test_the_nearest_mount_counts(path: str, kind: str) -> None:
    """Of nested mounts the innermost, of two in one place the later; names are decoded."""
    mounts = HEAD + mount("/", "ext4", "shared:1 ") + mount("/net", "nfs4", "shared:7 master:2 ")
    mounts += mount("/net/disk", "xfs") + mount(r"/with\040space\134and\011tab", "cifs")
    mounts += mount("/hidden", "nfs") + mount("/hidden", "tmpfs") + b"something else\n"
    assert kind_at(Path(path), mounts) == kind


def test_without_mounts_nothing_is_known() -> None:
    assert kind_at(Path("/app.db"), b"") is None


def test_this_machine_knows_its_own_mounts() -> None:
    """The file that is read in earnest has the form that is expected."""
    kind = kind_at(Path("/proc/self"), Path("/proc/self/mountinfo").read_bytes())
    assert kind == "proc"
    assert remote_kind(Path("/proc/self")) is None


@pytest.fixture
def over_nfs(tmp_path: Path) -> tuple[str, ...]:
    """What to put before a command so that the kernel's list names all its mounts as NFS."""
    listed = tmp_path / "mountinfo"
    listed.write_bytes(mount("/", "nfs4"))
    # The list is that of the process itself, which stays the same process when it becomes another
    # program.
    script = 'mount --bind "$0" "/proc/$$/mountinfo" && exec "$@"'
    prefix = ("unshare", "--mount", "sh", "-c", script, str(listed))
    try:
        tried = subprocess.run(
            [*prefix, "cat", "/proc/self/mountinfo"], capture_output=True, check=False
        )
    except FileNotFoundError as error:
        absent(f"the list of mounts cannot be replaced here: {error}")
    # A container may not mount even where it has root.
    if tried.returncode != 0:
        pytest.skip(f"the list of mounts cannot be replaced here: {tried.stderr.decode().strip()}")
    assert tried.stdout == listed.read_bytes()
    return prefix


@pytest.mark.fault("D9")
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_on_a_network_file_system_it_polls_and_says_so(
    mode: str,
    over_nfs: tuple[str, ...],
    database: MakeDatabase,
    state: Path,
    program: StartProgram,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """It looks through SQLite's locks, at intervals; status and log name the reason."""
    path = database(mode=mode)

    async def run() -> None:
        async with Running(path, state, over_nfs) as reader:
            status = await reader.until("ok")
            assert "network file system (nfs4)" in status.detail
            writer = program(path)
            for number in range(2):
                writer.run(f"UPDATE items SET value='{number}' WHERE id=1")
                await reader.until_changesets(number + 1)
        assert (state / "copy.db").exists(), "it was not read through a connection"

    asyncio.run(run())
    assert "network file system (nfs4)" in capfd.readouterr().err


@pytest.mark.fault("D13")
def test_more_names_than_one_are_a_warning(
    database: MakeDatabase, state: Path, write: Write, capfd: pytest.CaptureFixture[str]
) -> None:
    """A database with a hard link is watched under the name it was given, with a warning."""
    path = database()
    os.link(path, path.with_name("other.db"))
    assert "2 names" in warning(path)

    async def steps(watched: Watched) -> None:
        assert "2 names" in (await watched.until_status("ok")).detail
        write(path, "UPDATE items SET value='by its first name' WHERE id=1")
        await watched.until_rows(1)
        # In a rollback-journal mode the content itself is shared.
        write(path.with_name("other.db"), "UPDATE items SET value='by its other' WHERE id=2")
        await watched.until_rows(2)

    follow(path, state, steps)
    assert "hard links" in capfd.readouterr().err


@pytest.mark.fault("D13")
def test_one_name_is_no_warning(database: MakeDatabase, tmp_path: Path) -> None:
    """Nor is a symbolic link, which is resolved, nor a file that is not there."""
    path = database()
    (tmp_path / "link.db").symlink_to(path)
    assert warning(path) == ""
    assert warning((tmp_path / "link.db").resolve()) == ""
    assert warning(tmp_path / "missing.db") == ""
