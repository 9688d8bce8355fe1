"""Where a running stack keeps its private runtime files, and the lock that says who owns it.

Decides: the folder of one config file (named by the file's resolved path), the names in it, that it is
private to this user, and that one supervisor at a time owns it (`flock` is the truth, not the existence of a
socket). Does not know: configuration, processes, or what the files contain. Standard library only, since
every light verb imports it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import AlreadyOwned, SupervisorFailed

__all__ = [
    "OwnerLock",
    "RuntimePaths",
    "create_runtime_dir",
    "read_owner_pid",
    "runtime_dir",
    "runtime_paths",
    "write_owner_pid",
]

_UNIX_PATH_LIMIT = 104
"""Longest path, in bytes, that fits into sun_path with room for a NUL (108 on Linux, unix(7))."""

_LONGEST_NAME = "control.sock"
_PRIVATE = 0o700


@dataclass(frozen=True)
class RuntimePaths:
    """The runtime files of one stack; none of them needs to exist."""

    folder: Path
    control_socket: Path
    lock: Path
    journal: Path
    notes: Path
    """What somebody who ended the stack has to say to the user who starts it again; a line each."""

    def notify_socket(self, slot: int, *, for_others: bool = False) -> Path:
        """Address of the sd_notify socket of the child in `slot` (short, so that it fits).

        `for_others`: an abstract address, as another user cannot enter the folder.
        """
        path = self.folder / f"n{slot}"
        return Path(f"@{path}") if for_others else path

    def slot_of(self, address: Path) -> int:
        """The slot of such an address."""
        return int(address.name[1:])


def runtime_dir(config_path: Path) -> Path:
    """Return the runtime folder of a config file without creating it.

    The same for every process of this user: ${XDG_RUNTIME_DIR}, or a private folder under the temporary
    directory when that is unset, not ours, or too long for a Unix socket address.
    """
    digest = hashlib.sha256(os.fsencode(config_path.resolve())).hexdigest()[:16]
    tail = Path("lucid-launch") / digest
    for choose in (_session_base, _temporary_base):
        base = choose()
        if base is not None and len(os.fsencode(base / tail / _LONGEST_NAME)) < _UNIX_PATH_LIMIT:
            return base / tail
    return _fallback_base(Path("/tmp")) / tail


def runtime_paths(config_path: Path) -> RuntimePaths:
    """Return the runtime files of a config file without creating anything."""
    folder = runtime_dir(config_path)
    return RuntimePaths(
        folder, folder / "control.sock", folder / "lock", folder / "journal.json", folder / "notes"
    )


def create_runtime_dir(config_path: Path) -> RuntimePaths:
    """Create the runtime folder, private to this user, and return its files.

    Raises SupervisorFailed when a folder on the way belongs to somebody else or cannot be made; idempotent.
    """
    paths = runtime_paths(config_path)
    base = paths.folder.parent.parent
    ours = [paths.folder.parent, paths.folder]
    for folder in ours if base == _session_base() else [base, *ours]:
        try:
            folder.mkdir(mode=_PRIVATE, exist_ok=True)
            _check_private(folder)
        except OSError as error:
            raise SupervisorFailed(
                f"cannot use the runtime folder {folder}: {error.strerror}",
                hint="remove it, or point XDG_RUNTIME_DIR at a folder of your own",
            ) from error
    return paths


def read_owner_pid(paths: RuntimePaths) -> int | None:
    """Return the pid written by the process that holds the lock, or None when nobody holds it."""
    try:
        descriptor = os.open(paths.lock, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(descriptor) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = file.read().strip()
            return int(text) if text.isdigit() else None
    return None


class OwnerLock:
    """The exclusive ownership of one runtime folder, for as long as anybody holds its descriptor.

    The file names the process whose end is the end of the stack, the guardian. An owner that ends well leaves
    it empty.
    """

    def __init__(self, paths: RuntimePaths, config_path: Path, owner_pid: int | None = None) -> None:
        """Take the lock for `owner_pid` (default: this process) or raise AlreadyOwned naming the holder."""
        self.descriptor = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self.descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self.descriptor)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise AlreadyOwned(str(config_path), int(holder) if holder.isdigit() else None) from error
        left = os.pread(self.descriptor, 32, 0).decode("ascii", "replace").strip()
        self.dead_predecessor = int(left) if left.isdigit() else None
        """The owner before this one, when it died without releasing the lock."""
        write_owner_pid(self.descriptor, os.getpid() if owner_pid is None else owner_pid)

    def release(self) -> None:
        """Give the ownership up; the file stays, as removing it would race with the next owner."""
        os.ftruncate(self.descriptor, 0)
        os.close(self.descriptor)


def write_owner_pid(descriptor: int, pid: int) -> None:
    """Name `pid` as the owner in a lock that is held."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{pid}\n".encode(), 0)


def _session_base() -> Path | None:
    folder = os.environ.get("XDG_RUNTIME_DIR")
    if not folder or not os.path.isabs(folder):
        return None
    try:
        owner = os.stat(folder).st_uid
    except OSError:
        return None
    return Path(folder) if owner == os.getuid() else None


def _temporary_base() -> Path:
    import tempfile  # with all that it imports a tenth of `status`, and mostly not needed

    return _fallback_base(Path(tempfile.gettempdir()))


def _fallback_base(temporary: Path) -> Path:
    return temporary / f"lucid-{os.getuid()}"


def _check_private(folder: Path) -> None:
    """Refuse a folder of another user or a link to one; narrow the mode of our own."""
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
        raise PermissionError(errno.EPERM, f"it belongs to user {facts.st_uid}, not to you")
    if stat.S_IMODE(facts.st_mode) != _PRIVATE:
        folder.chmod(_PRIVATE)
