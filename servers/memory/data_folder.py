"""Names of files that clients may choose, confined to the data folder (protocol.md section 4, "a path").

It decides which names are allowed and where they lead; it does not know what is written there.
"""

from pathlib import Path
from typing import Final

from servers.errors import InvalidRequest

RESERVED: Final = ("memory.db", "memory.lock")
"""What the store's own files begin with; no client may read or write those."""
MOST_NAME_BYTES: Final = 1024
MOST_PART_BYTES: Final = 240
"""Of a file or folder; file systems take 255, and a file that is being written has a longer name."""


def resolve_inside(folder: Path, name: str, *, must_exist: bool) -> Path:
    """Return the file that `name`, relative to `folder`, stands for.

    A new file must not exist yet, an existing one must be a regular file. Raises InvalidRequest for names
    that lead out of the folder (also through links), to the store's own files, or to nothing usable.
    """
    if "\0" in name or not name.strip():
        raise _refused(name, "must be the name of a file inside the data folder")
    if len(name.encode()) > MOST_NAME_BYTES or any(
        len(part.encode()) > MOST_PART_BYTES for part in name.split("/")
    ):
        limits = f"{MOST_NAME_BYTES} bytes, {MOST_PART_BYTES} between slashes"
        raise _refused(name, f"is too long: at most {limits}")
    root = folder.resolve()
    place = root / name
    if not place.resolve().is_relative_to(root) or place.resolve() == root:
        raise _refused(name, "must lie inside the data folder, such as exports/monday.jsonl")
    if place.parent.resolve() == root and place.name.startswith(RESERVED):
        raise _refused(name, "belongs to the store itself; choose another name")
    if place.is_symlink() or (place.exists() and not place.is_file()):
        raise _refused(name, "is not a plain file")
    if place.exists() != must_exist:
        raise _refused(name, "does not exist" if must_exist else "exists already; choose another name")
    return place


def shown_inside(folder: Path, file: Path) -> str:
    """Return how a client names that file again."""
    return str(file.relative_to(folder.resolve()))


def _refused(name: str, why: str) -> InvalidRequest:
    shown = name if len(name) <= 80 else f"{name[:77]}..."
    return InvalidRequest(f"path: {shown!r} {why}.", details={"field": "path", "allowed": why, "got": shown})
