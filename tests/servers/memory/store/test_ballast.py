"""The space that is kept for a full disk."""

from pathlib import Path

import pytest

from servers.memory.store.ballast import FILE_NAME, Ballast

SIZE = 1 << 16


def test_it_takes_real_blocks_and_gives_them_back(tmp_path: Path) -> None:
    """A hole in a file would keep nothing."""
    ballast = Ballast(tmp_path, SIZE)
    assert not ballast.is_held
    assert ballast.hold()
    taken = (tmp_path / FILE_NAME).stat()
    assert (taken.st_size, taken.st_blocks * 512 >= SIZE) == (SIZE, True)
    assert ballast.give_up()
    assert not (tmp_path / FILE_NAME).exists()
    assert not ballast.give_up()
    assert ballast.hold()


def test_it_survives_a_restart(tmp_path: Path) -> None:
    """What is there already need not be made again, and can be given up at once."""
    Ballast(tmp_path, SIZE).hold()
    again = Ballast(tmp_path, SIZE)
    assert again.is_held
    assert again.give_up()


@pytest.mark.parametrize("size", [0, SIZE // 2, 2 * SIZE])
def test_a_file_of_another_size_goes_away(tmp_path: Path, size: int) -> None:
    """A changed option, or a crash in the middle, leaves nothing behind that nobody would give up."""
    Ballast(tmp_path, SIZE).hold()
    assert not Ballast(tmp_path, size).is_held
    assert not (tmp_path / FILE_NAME).exists()


def test_it_never_fills_the_disk_itself(tmp_path: Path) -> None:
    """Without twice as much to spare the space stays free."""
    ballast = Ballast(tmp_path, 1 << 61)
    assert not ballast.hold()
    assert not (tmp_path / FILE_NAME).exists()


def test_none_is_kept_if_none_is_wanted(tmp_path: Path) -> None:
    """Size 0 makes no file."""
    assert not Ballast(tmp_path, 0).hold()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_the_space_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reserve is a comfort: a store opens and works without it."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", refuse)
    assert not Ballast(tmp_path, SIZE).hold()
    assert not (tmp_path / FILE_NAME).exists()
