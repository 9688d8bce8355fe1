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
        if file.stat().st_size < HEADER_BYTES:
            raise damaged(file, f"it has only {file.stat().st_size} bytes")
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


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
