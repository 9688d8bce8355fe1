"""The making of a new store's folder and file, whole or not at all.

It decides how a file comes into being, so that an empty or cut memory.db can only be a damaged one; it does
not know what is stored in it.
"""

import os
from contextlib import closing
from pathlib import Path
from typing import Final

from servers.memory.store import schema
from servers.memory.store.connections import Connections
from servers.memory.store.failures import damaged

HEADER_BYTES: Final = 512
"""The smallest page, and so the smallest file, that SQLite writes; it takes what is shorter for new."""


def create_folder(folder: Path) -> None:
    """Make the folder, private to this user, unless it is there; its name is on the disk. Raises OSError."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(folder.parent)


def create_file(file: Path, vfs: str | None) -> None:
    """Make the file with its newest schema unless it is there; StoreUnusable if it is there and cut short.

    Raises OSError and apsw.Error; then nothing lies at `file`.
    """
    if file.exists():
        _refuse_cut(file)
        return
    draft = file.with_name(f"{file.name}.new")
    for leftover in (draft, *(draft.with_name(f"{draft.name}{suffix}") for suffix in ("-wal", "-shm"))):
        leftover.unlink(missing_ok=True)
    # SQLite gives the log and the shared memory the mode of the database, so its mode decides for all three.
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(Connections(draft, vfs)) as connections:
        connections.on_writer(lambda writer: schema.migrate(writer, str(draft)))
    os.rename(draft, file)
    sync_folder(file.parent)


def _refuse_cut(file: Path) -> None:
    size = file.stat().st_size
    if size < HEADER_BYTES:
        raise damaged(file, f"it has only {size} bytes")
    log = file.with_name(f"{file.name}-wal")
    if log.exists() and log.stat().st_size:
        return  # killed while the log was moved into the file, which then may rightly be short
    with file.open("rb") as opened:
        header = opened.read(HEADER_BYTES)
    # Page size at 16 (1 means 65536), pages at 28: https://www.sqlite.org/fileformat.html#the_database_header
    page_bytes = int.from_bytes(header[16:18]) if header[16:18] != b"\0\1" else 65536
    expected = page_bytes * int.from_bytes(header[28:32])
    if size < expected:
        raise damaged(file, f"it has {size} bytes of {expected}")


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
