"""A complete copy of an open SQLite store in a new file, made while it is read and written.

It decides how the copy is made, checked and given its name; it does not know where copies belong.
"""

import os
from contextlib import closing
from pathlib import Path

import apsw

from servers.errors import StorageError
from servers.memory.store import rows
from servers.memory.store.base import Backup
from servers.memory.store.creation import sync_folder


def copy_store(source: apsw.Connection, file: Path) -> Backup:
    """Copy the store that `source` has open to `file`, which must not exist; only a whole copy gets the name.

    The copy is what was committed when the call began (https://www.sqlite.org/lang_vacuum.html#vacuuminto);
    it is synced and every row is read before it gets its name. Raises OSError, apsw.Error, StorageError.
    """
    draft = file.with_name(f"{file.name}.part")
    draft.unlink(missing_ok=True)
    # SQLite takes an empty file; so the copy is private to this user from its first byte on.
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        source.execute("VACUUM INTO ?", (str(draft),))
        count, damaged = _count_rows(draft)
        _sync_file(draft)
        os.rename(draft, file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)
    return Backup(file, file.stat().st_size, count, damaged)


def _count_rows(file: Path) -> tuple[int, int]:
    with closing(apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)) as copy:
        finding = copy.execute("PRAGMA quick_check(1)").fetchall()[0][0]
        if finding != "ok":
            raise StorageError(f"The backup was made, but does not read back ({finding}); it was removed.")
        count = damaged = 0
        for raw in copy.execute(f"SELECT {rows.COLUMNS} FROM memories"):
            count += 1
            damaged += rows.read(raw) is None
    return count, damaged


def _sync_file(file: Path) -> None:
    fd = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
