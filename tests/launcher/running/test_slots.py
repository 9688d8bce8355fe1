"""launcher.running.slots: the newest whole content is what is read, whatever the last writing left."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.running.slots import Slots, read_slots, remove_slots

contents = st.lists(st.binary(max_size=60), min_size=1, max_size=6)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A place where nothing is yet."""
    return tmp_path / "journal.json"


def _clear(path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()


@given(contents=contents)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_last_content_is_read(path: Path, contents: list[bytes]) -> None:
    """However long the contents before were, the last is read back exactly, by writers that follow too."""
    _clear(path)
    for content in contents:
        slots = Slots(path)
        slots.write(content)
        slots.close()
        assert read_slots(path) == content


@given(contents=contents, kept=st.floats(0, 1, exclude_max=True), data=st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_torn_writing_leaves_the_one_before(
    path: Path, contents: list[bytes], kept: float, data: st.DataObject
) -> None:
    """A writer that was killed in the middle of a writing has not lost the content before it."""
    _clear(path)
    slots = Slots(path)
    for content in contents:
        slots.write(content)
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    newest = data.draw(st.binary(min_size=1, max_size=80))
    slots.write(newest)
    slots.close()
    (torn,) = [file for file in path.parent.iterdir() if before.get(file) != file.read_bytes()]
    whole, old = torn.read_bytes(), before.get(torn, b"")
    cut = int(len(whole) * kept)
    torn.write_bytes(whole[:cut] + old[cut:])
    # What was cut off may have been there by chance.
    is_whole = torn.read_bytes().startswith(whole)
    assert read_slots(path) == (newest if is_whole else contents[-1])


def test_nothing_was_written(path: Path) -> None:
    """No file is no content, and no error."""
    assert read_slots(path) is None


def test_nothing_whole_is_refused(path: Path) -> None:
    """What is there and is not whole is never taken for a content."""
    path.write_bytes(b"1 3 0\nabc")
    with pytest.raises(ValueError, match="no whole"):
        read_slots(path)


def test_a_refused_writing_keeps_what_was_there(path: Path) -> None:
    """A writing that cannot be made is told as an OSError, and the content before it is still read."""
    slots = Slots(path)
    slots.write(b"before")
    path.with_name("journal.json.2").mkdir()
    with pytest.raises(IsADirectoryError):
        slots.write(b"after")
    path.with_name("journal.json.2").rmdir()
    assert read_slots(path) == b"before"


def test_removing_puts_both_aside(path: Path) -> None:
    """Both files go under the new name, or away."""
    slots = Slots(path)
    slots.write(b"a")
    slots.write(b"b")
    slots.close()
    aside = path.with_name("aside")
    remove_slots(path, aside)
    assert read_slots(path) is None
    assert read_slots(aside) == b"b"
    remove_slots(aside)
    assert list(path.parent.iterdir()) == []
