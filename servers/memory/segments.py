"""Full blocks of the index as files beside the store, so that a start need not compute them again.

It decides how a block lies on the disk and when a file is believed; it does not know what the store holds
now. The store is the truth and these files are made from it: one that is damaged, cut short, or of another
layout is not used, and removing all of them costs a slower start. Every file carries a CRC-32, checked over
all of its bytes before anything is taken from it; so none needs a sync.
"""

import logging
import os
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from servers.memory.codes import Mode
from servers.memory.mapped_arrays import Array, mapped, require_room
from servers.memory.store.base import Columns
from servers.memory.store.marks import Marks

log = logging.getLogger(__name__)

VERSION: Final = 1
MANIFEST: Final = "manifest.json"
DRAFT: Final = "draft"
READ_BYTES: Final = 1 << 20

Arrays = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Layout:
    """What segments must have in common with the index that takes them."""

    mode: Mode
    dimensions: int
    block_rows: int


@dataclass(frozen=True, slots=True)
class Segment:
    """One full block: the rows that were undeleted in the seqs after `after` up to `last` when it was made.

    `columns` hold unit vectors, `parts` what the codes consist of. `sums` are those of `Marked.row_sums`
    then, `checksums` (n,) those of the rows.
    """

    after: int
    last: int
    sums: tuple[int, int, int]
    columns: Columns
    checksums: npt.NDArray[np.int64]
    parts: Arrays

    def survivors(self, marks: Marks) -> npt.NDArray[np.bool_]:
        """Say which rows are still in the store, undeleted and unchanged; `marks` are those of its seqs."""
        if not len(marks.seqs):
            return np.zeros(len(self.checksums), dtype=np.bool_)
        places = np.minimum(np.searchsorted(marks.seqs, self.columns.seqs), len(marks.seqs) - 1)
        same: npt.NDArray[np.bool_] = marks.seqs[places] == self.columns.seqs
        same &= marks.checksums[places] == self.checksums
        return same


class SegmentFolder:
    """The segments in a folder, which begin where the one before ended."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._folder = folder
        self._layout = layout

    def read_all(self) -> Iterator[Segment]:
        """Yield the segments in order, from seq 0 on, as far as they are whole and fit the layout."""
        after = 0
        while (found := self._read(after)) is not None:
            yield found
            after = found.last

    def write(self, segment: Segment) -> Segment:
        """Write a segment and return it as it was read back, its vectors mapped. Raises OSError."""
        draft, folder = self._folder / DRAFT, self._place(segment.after)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700, parents=True)
        try:
            self._write_to(draft, segment)
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        written = self._read(segment.after)
        if written is None:
            raise OSError(f"{folder} does not read back")
        return written

    def _write_to(self, draft: Path, segment: Segment) -> None:
        require_room(draft)
        for name, array in self._arrays(segment).items():
            np.save(draft / f"{name}.npy", array, allow_pickle=False)
        (draft / "ids.json").write_bytes(orjson.dumps(segment.columns.ids))
        checksums = {file.name: _crc_of(file) for file in draft.iterdir()}
        (draft / MANIFEST).write_bytes(orjson.dumps(self._manifest(segment) | {"files": checksums}))

    def drop_after(self, after: int) -> None:
        """Remove the segments that hold seqs above `after`, and whatever a killed process left."""
        for folder in self._folder.iterdir() if self._folder.is_dir() else ():
            if folder.name == DRAFT or (folder.name.isdigit() and int(folder.name) >= after):
                shutil.rmtree(folder, ignore_errors=True)

    def _place(self, after: int) -> Path:
        return self._folder / f"{after:016}"

    def _manifest(self, segment: Segment) -> dict[str, Any]:
        layout = self._layout
        return {
            "version": VERSION,
            "layout": [layout.mode, layout.dimensions, layout.block_rows],
            "after": segment.after,
            "last": segment.last,
            "sums": segment.sums,
            "namespaces": list(dict.fromkeys(segment.columns.namespaces)),
        }

    def _arrays(self, segment: Segment) -> Arrays:
        columns = segment.columns
        codes = {name: code for code, name in enumerate(dict.fromkeys(columns.namespaces))}
        return {
            "namespaces": np.array([codes[name] for name in columns.namespaces], dtype=np.int32),
            "seqs": columns.seqs,
            "timestamps_ms": columns.timestamps_ms,
            "expires_at_ms": columns.expires_at_ms,
            "significances": columns.significances,
            "vectors": columns.vectors,
            "checksums": segment.checksums,
            **{f"part-{name}": part for name, part in segment.parts.items()},
        }

    def _read(self, after: int) -> Segment | None:
        folder = self._place(after)
        if not folder.is_dir():
            return None
        try:
            return self._believed(folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is not used, and made again from the store: %s", folder, error)
            return None

    def _believed(self, folder: Path) -> Segment:
        """The segment in that folder. Raises ValueError, KeyError, TypeError or OSError for any flaw."""
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
        layout = self._layout
        if manifest["version"] != VERSION or manifest["layout"] != [
            layout.mode, layout.dimensions, layout.block_rows,
        ]:  # fmt: skip
            raise ValueError("it was made for another layout")
        for name, checksum in manifest["files"].items():
            if _crc_of(folder / name) != checksum:
                raise ValueError(f"{name} is damaged")
        names = manifest["namespaces"]
        columns = Columns(
            ids=orjson.loads((folder / "ids.json").read_bytes()),
            namespaces=[names[code] for code in _array(folder, "namespaces").tolist()],
            seqs=_array(folder, "seqs"),
            timestamps_ms=_array(folder, "timestamps_ms"),
            expires_at_ms=_array(folder, "expires_at_ms"),
            significances=_array(folder, "significances"),
            vectors=mapped(folder / "vectors.npy"),
        )
        count, plain, placed = manifest["sums"]
        parts = [file.stem for file in folder.glob("part-*.npy")]
        return Segment(
            after=manifest["after"],
            last=manifest["last"],
            sums=(count, plain, placed),
            columns=columns,
            checksums=_array(folder, "checksums"),
            parts={name.removeprefix("part-"): _part(folder, name) for name in parts},
        )


def _array(folder: Path, name: str) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(folder / f"{name}.npy", allow_pickle=False)
    return array


def _part(folder: Path, name: str) -> Array:
    """A part of the codes: what has several numbers a row is mapped, a number a row is read."""
    array = mapped(folder / f"{name}.npy")
    return array if array.ndim > 1 else array.copy()


def _crc_of(file: Path) -> int:
    """The CRC-32 of a file, read and not mapped: its pages are then nobody's memory."""
    checksum = 0
    with file.open("rb", buffering=0) as opened:
        while piece := opened.read(READ_BYTES):
            checksum = zlib.crc32(piece, checksum)
    return checksum
