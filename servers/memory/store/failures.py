"""SQLite's exceptions as this program's errors, so that nothing above the store knows apsw.

It decides which failure a client or an operator is told about; it does not know what was attempted.
"""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from servers.errors import StorageError, StorageFull, StoreUnusable

log = logging.getLogger(__name__)

_DISK: Final = (
    apsw.IOError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.PermissionsError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.ProtocolError,
    apsw.NoMemError,
)
# Any other error of SQLite is a mistake in this program and is left to crash loudly.

RETRY_FULL_S: Final = 5.0
"""When to try again on a full disk, in seconds: space comes back at the pace of people."""

RESTORE: Final = (
    "stop the server, move memory.db, memory.db-wal and memory.db-shm aside (the sqlite3 command `.recover` "
    "may still read them), put a backup in place as memory.db, start again; without a backup, start with "
    "another folder through the option `path`"
)
"""How a person gets a damaged store going again."""


@contextmanager
def disk_failures(file: Path) -> Iterator[None]:
    """Turn SQLite's errors in the block into StorageFull or StorageError, with the cause in the log."""
    try:
        yield
    except apsw.FullError as error:
        log.error("the disk of %s is full: nothing more can be stored (%s)", file, error)
        raise StorageFull(
            f"The disk of {file} is full: nothing was stored. Reading goes on; free some space and repeat.",
            retry_after=RETRY_FULL_S,
        ) from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        log.error("%s is damaged (%s); %s", file, error, RESTORE)
        raise StorageError(
            f"The store {file} is damaged: nothing was changed. To mend it: {RESTORE}."
        ) from error
    except OSError as error:
        log.error("a file of the store %s failed: %s", file, error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(
                f"The disk of {error.filename or file} is full. Free some space and repeat.",
                retry_after=RETRY_FULL_S,
            ) from error
        raise StorageError(f"{error.filename or file} could not be read or written ({error}).") from error
    except _DISK as error:
        log.error("the store %s failed: %s: %s", file, type(error).__name__, error)
        raise StorageError(
            f"The store {file} could not be read or written ({error}): nothing was changed. Check the disk."
        ) from error


@contextmanager
def opening_failures(file: Path) -> Iterator[None]:
    """Turn everything that can fail while a store is opened into StoreUnusable with its mend."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, UnicodeDecodeError) as error:
        # While a store is opened only our own fixed statements run, so one that fails has met a damaged file.
        raise damaged(file, str(error)) from error
    except apsw.FullError as error:
        raise StoreUnusable(
            f"the disk is full, so the memory store cannot be opened ({error})",
            where=str(file),
            mend="free some space on that disk and start again",
        ) from error
    except (apsw.Error, OSError) as error:
        raise StoreUnusable(
            f"the memory store cannot be opened ({error})",
            where=str(file),
            mend="check that this user may write to the folder, or set the option `path` to another",
        ) from error


def damaged(file: Path, finding: str) -> StoreUnusable:
    """The refusal to open a file whose structure is broken; `finding` is SQLite's own words."""
    return StoreUnusable(
        f"the memory store is damaged and was left untouched ({finding})", where=str(file), mend=RESTORE
    )
