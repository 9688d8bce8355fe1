"""Arrays in files: the same numbers, and memory only as long as somebody looks."""

import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from servers.memory import mapped_arrays
from servers.memory.mapped_arrays import (
    expect_single_rows,
    give_back,
    is_mapped,
    mapped,
    moved_to_disk,
    require_room,
    return_free_memory,
)

ROWS = np.random.default_rng(1).normal(size=(3000, 96)).astype(np.float32)


def resident_pages() -> int:
    """Pages of files in this process's memory."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[2])


@pytest.mark.parametrize("array", [ROWS, ROWS.astype(np.int8), ROWS.astype(np.float16), ROWS[:, ::2]])
def test_a_moved_array_is_the_same_and_has_no_name(array: np.ndarray, tmp_path: Path) -> None:
    """It equals what was in memory, bit for bit; no file is left that somebody would have to remove."""
    moved = moved_to_disk(array, tmp_path / "new")
    assert is_mapped(moved)
    assert not is_mapped(array)
    assert moved.dtype == array.dtype
    assert np.array_equal(moved, array)
    assert list((tmp_path / "new").iterdir()) == []


def test_pages_are_given_back_and_come_again(tmp_path: Path) -> None:
    """After a look at all of it, giving back frees that memory; the next look finds the same numbers."""
    moved = moved_to_disk(ROWS, tmp_path)
    pages = ROWS.nbytes // mmap.PAGESIZE
    give_back(moved)
    before = resident_pages()
    total = moved.sum()
    assert resident_pages() - before >= pages * 9 // 10
    give_back(moved)
    assert resident_pages() - before <= pages // 10
    expect_single_rows(moved)
    assert moved.sum() == total


def test_a_saved_array_is_mapped(tmp_path: Path) -> None:
    """An array in numpy's format can be given back too, also through a view of it."""
    np.save(tmp_path / "rows.npy", ROWS)
    array = mapped(tmp_path / "rows.npy")
    assert is_mapped(array)
    assert is_mapped(array[10:20])
    give_back(array)
    assert np.array_equal(array, ROWS)


def test_what_is_no_array_is_refused(tmp_path: Path) -> None:
    """A file with other content is not taken for numbers."""
    (tmp_path / "rows.npy").write_bytes(b"not an array, but long enough to be looked at as one")
    with pytest.raises(ValueError, match="magic"):
        mapped(tmp_path / "rows.npy")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match="format"):
        mapped(tmp_path / "objects.npy")


def test_an_array_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    """Reading behind the end of a file would end the process: it is found out before."""
    np.save(tmp_path / "rows.npy", ROWS)
    os.truncate(tmp_path / "rows.npy", ROWS.nbytes)
    with pytest.raises(ValueError, match="cut short"):
        mapped(tmp_path / "rows.npy")


def test_many_arrays_keep_no_file_open_and_end_with_their_last_user(tmp_path: Path) -> None:
    """An index has hundreds of them, and a process may have few open files."""
    open_before = len(os.listdir("/proc/self/fd"))
    arrays = [moved_to_disk(ROWS[:10], tmp_path) for _ in range(50)]
    assert len(os.listdir("/proc/self/fd")) == open_before
    views = [array[2:4] for array in arrays]
    del arrays
    assert all(np.array_equal(view, ROWS[2:4]) for view in views)
    before = len(Path("/proc/self/maps").read_text().splitlines())
    del views
    assert len(Path("/proc/self/maps").read_text().splitlines()) <= before - 50


def test_memory_is_no_file() -> None:
    """Giving back an array in memory leaves it alone."""
    array = ROWS.copy()
    give_back(array)
    expect_single_rows(array)
    assert np.array_equal(array, ROWS)
    return_free_memory()


def test_a_nearly_full_disk_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where less is free than is kept for memories, nothing is written."""
    require_room(tmp_path)
    monkeypatch.setattr(mapped_arrays, "LEFT_FREE_BYTES", 1 << 62)
    with pytest.raises(OSError, match="kept for memories"):
        moved_to_disk(ROWS, tmp_path)


def test_a_write_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk did not take is found out before the copy in memory is let go."""

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(OSError, match="Input/output"):
        moved_to_disk(ROWS, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    """Where the folder cannot be made, the error says so."""
    (tmp_path / "index").write_text("in the way")
    with pytest.raises(OSError, match="File exists"):
        moved_to_disk(ROWS, tmp_path / "index")
