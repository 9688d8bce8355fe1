"""Arrays that lie in files: in memory only as far as somebody looks at them, and as long as there is room.

It decides how an array gets into a file and how its pages are given back; it does not know what the arrays
mean. The pages are the file's and nobody writes to them, so the kernel may drop them at any time, and reads
them again when they are touched.
"""

from __future__ import annotations

import ctypes
import errno
import math
import mmap
import os
import shutil
import tempfile
import weakref
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

LEFT_FREE_BYTES: Final = 1 << 30
"""With less free on the disk nothing is written that could be made again."""

Array = npt.NDArray[Any]


def mapped(file: Path) -> Array:
    """Return the array of a file in numpy's format. Raises OSError, or ValueError if it is none."""
    with file.open("rb") as opened:
        if np.lib.format.read_magic(opened) != (1, 0):
            raise ValueError(f"{file.name} is not in the format of this program")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(opened)
        if is_fortran or dtype.hasobject:
            raise ValueError(f"{file.name} is not in the format of this program")
        return _array_at(opened.fileno(), opened.tell(), shape, dtype)


def moved_to_disk(array: Array, folder: Path) -> Array:
    """Return a copy of the array in a file without a name in that folder, which ends with this process.

    Raises OSError, and leaves nothing behind, when the folder cannot be written or its disk is nearly full.
    """
    require_room(folder)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
        # What cannot be written must be found out while the copy in memory still exists.
        os.fdatasync(file.fileno())
        return _array_at(file.fileno(), file.tell() - array.nbytes, array.shape, array.dtype)


def require_room(folder: Path) -> None:
    """Make the folder if need be. Raises OSError if it cannot be, or if its disk is nearly full."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < LEFT_FREE_BYTES:
        raise OSError(errno.ENOSPC, "what is left of the disk is kept for memories", str(folder))


def is_mapped(array: Array) -> bool:
    """Say whether the array lies in a file."""
    return _pages_of(array) is not None


def give_back(array: Array) -> None:
    """Let go of the pages of an array that lies in a file; of any other, nothing.

    Whoever reads it meanwhile, or later, finds what the file says.
    """
    _advise(array, mmap.MADV_DONTNEED)


def expect_single_rows(array: Array) -> None:
    """Have the kernel read no more than what is asked for, of an array whose rows are wanted one by one."""
    _advise(array, mmap.MADV_RANDOM)


def return_free_memory() -> None:
    """Have the allocator give back what was freed; it keeps it otherwise, up to a third of what is in use."""
    trim = getattr(_libc(), "malloc_trim", None)  # glibc's alone
    if trim is not None:
        trim(0)


class _Pages:
    """The pages of a file that is not kept open: `mmap.mmap` needs a descriptor each, and blocks are many."""

    def __init__(self, fd: int, size: int) -> None:
        libc = _libc()
        # Copy on write, though nobody writes: torch takes only arrays that could be written to.
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        address = libc.mmap(None, size, protection, mmap.MAP_PRIVATE, fd, 0)
        if address == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self.address, self.size = address, size
        self.__array_interface__ = {
            "shape": (size,), "typestr": "|u1", "data": (address, False), "version": 3,
        }  # fmt: skip
        # Not at exit: other threads may still be reading, and the process ends anyway.
        weakref.finalize(self, libc.munmap, address, size).atexit = False


def _array_at(fd: int, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The array that begins at that byte of a file. Raises ValueError if the file ends before it does."""
    end = start + math.prod(shape) * dtype.itemsize
    if os.fstat(fd).st_size < end:
        raise ValueError("an array is cut short")
    array: Array = np.asarray(_Pages(fd, end))[start:end].view(dtype).reshape(shape)
    return array


def _advise(array: Array, advice: int) -> None:
    pages = _pages_of(array)
    if pages is not None:
        # Not taken where memory is locked: that costs memory, and no answer may depend on it.
        _libc().madvise(pages.address, pages.size, advice)


def _pages_of(array: Array) -> _Pages | None:
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, _Pages) else None


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
    ]  # fmt: skip
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc
