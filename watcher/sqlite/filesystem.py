"""Where a database lies, as far as that bears on how it can be watched.

On a network file system, or a directory that a virtual machine shares with its host, the kernel
here hears nothing of writes made elsewhere: there are no events of them, and file times come late.
What `capture.py` concludes from events and times would be wrong there; SQLite's own locks are what
is left.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
# Servers and clusters; then a host's directory in a virtual machine or a container.
_REMOTE = """
afs auristorfs beegfs ceph cifs coda davfs gfs gfs2 glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2
orangefs panfs pvfs2 smb2 smb3 smbfs
9p drvfs fakeowner prl_fs vboxsf virtiofs vmhgfs
"""
# In user space. Others of them, such as mergerfs or gocryptfs, lie on disks of this machine.
_REMOTE_FUSE = """
blobfuse blobfuse2 ceph curlftpfs davfs2 gcsfuse glusterfs goofys grpcfuse juicefs mfs osxfs rclone
s3fs seaweedfs smbnetfs sshfs vmhgfs-fuse
"""
_KINDS = frozenset(_REMOTE.split()) | {f"fuse.{name}" for name in _REMOTE_FUSE.split()}
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def is_remote(kind: str) -> bool:
    """Tells whether files of such a file system can be written without this kernel noticing.

    Args:
        kind: its type as the kernel names it, such as `ext4`, `nfs4` or `fuse.sshfs`.
    """
    return kind in _KINDS


def kind_at(path: Path, mounts: bytes) -> str | None:
    """The type of the file system a path lies on, None where that is not known.

    Args:
        path: absolute and with links resolved; it need not exist.
        mounts: what `/proc/self/mountinfo` says.
    """
    # Of two mounts in one place the later one hides the other.
    kinds = dict(_mounts(mounts))
    return next((kinds[place] for place in (path, *path.parents) if place in kinds), None)


def _mounts(mounts: bytes) -> Iterator[tuple[Path, str]]:
    for line in mounts.splitlines():
        # Mount point in the fifth field; the type after a lone hyphen, before which any number of
        # optional fields may stand.
        place, _, source = line.partition(b" - ")
        fields = place.split(b" ")
        if len(fields) > 4 and source:
            point = _ESCAPED.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), fields[4])
            yield Path(os.fsdecode(point)), os.fsdecode(source.split(b" ")[0])


def remote_kind(path: Path) -> str | None:
    """The type of the network file system a path lies on; None for a local one, or an unknown one.

    Args:
        path: absolute and with links resolved; it need not exist.
    """
    try:
        kind = kind_at(path, _MOUNTS.read_bytes())
    except OSError:
        # Not Linux, or no /proc in this container: then there is nothing to be known.
        return None
    return kind if kind is not None and is_remote(kind) else None


def warning(path: Path) -> str:
    """What someone who watches a file should know of its place; empty if nothing.

    Args:
        path: the database, with links resolved.
    """
    kind, names = remote_kind(path), _names(path)
    said = []
    if kind is not None:
        said.append(
            f"it lies on a network file system ({kind}), which does not tell of every write: it is"
            " polled"
        )
    if names > 1:
        said.append(
            f"it has {names} names (hard links): what is written through another one may lie in a"
            " log or journal that is not seen"
        )
    return "; ".join(said)


def _names(path: Path) -> int:
    try:
        return os.stat(path).st_nlink
    except OSError:
        # A file that is not there, or not to be seen, gets a status of its own.
        return 0
