"""What a full disk still allows."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from servers.errors import RequestError, StorageFull
from servers.memory.store.ballast import FILE_NAME
from servers.memory.store.ballasted import BallastedStore
from servers.memory.store.base import Selection, Transaction
from tests.servers.memory.doubles import Disk, make_memory, mounted
from tests.servers.memory.store.filling import MODEL

SIZE = 1 << 16


class CrowdedDisk(Disk):
    """A disk that others fill: nothing can be written while the ballast lies on it and `is_crowded`."""

    def __init__(self, folder: Path) -> None:
        """Look for the ballast in `folder`."""
        super().__init__()
        self.ballast = folder / FILE_NAME
        self.is_crowded = False

    def fail_if_told(self) -> None:
        """Refuse a write to the full disk."""
        if self.is_crowded and self.ballast.exists():
            raise apsw.FullError("the disk is full")
        super().fail_if_told()


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[CrowdedDisk]:
    """The disk under the store."""
    with mounted(CrowdedDisk(tmp_path)) as disk:
        assert isinstance(disk, CrowdedDisk)
        yield disk


@pytest.fixture
def store(tmp_path: Path, crowded: CrowdedDisk) -> Iterator[BallastedStore]:
    """A store with two memories and its ballast."""
    with closing(BallastedStore(tmp_path, vfs=crowded.name, ballast_bytes=SIZE)) as opened:
        opened.bind_model(MODEL)
        opened.apply([inserting("a"), inserting("b")])
        yield opened


def inserting(memory_id: str) -> Callable[[Transaction], object]:
    """An operation that stores."""
    return lambda transaction: transaction.insert(make_memory(memory_id))


def test_a_full_disk_refuses_what_adds_and_carries_out_what_removes(
    store: BallastedStore, crowded: CrowdedDisk
) -> None:
    """In one group: the new memory is refused for itself, the deletion is on the disk."""
    crowded.is_crowded = True
    refused, deleted = store.apply([inserting("c"), lambda t: t.set_deleted("a", 1)])
    assert isinstance(refused, StorageFull)
    assert not isinstance(deleted, RequestError)
    assert not crowded.ballast.exists()
    assert set(store.find_many(["a", "b", "c"])) == {"b"}


def test_storing_goes_on_by_itself_once_there_is_room(store: BallastedStore, crowded: CrowdedDisk) -> None:
    """The reserve is taken again first, so that the next full disk is met as well."""
    crowded.is_crowded = True
    (refused,) = store.apply([inserting("c")])
    assert isinstance(refused, StorageFull)
    crowded.is_crowded = False
    store.apply([inserting("c")])
    assert crowded.ballast.stat().st_size == SIZE
    assert set(store.find_many(["c"])) == {"c"}


def test_nothing_is_stored_while_the_reserve_cannot_be_taken_again(
    store: BallastedStore, crowded: CrowdedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The space was given up for deleting: new memories must not eat it up; reading goes on."""
    crowded.is_crowded = True
    store.apply([inserting("c")])
    monkeypatch.setattr("servers.memory.store.ballast.Ballast._spare_bytes", lambda self: SIZE)
    answers = store.apply(
        [inserting("c"), lambda t: t.replace(make_memory("b")), lambda t: t.set_deleted("b", 1)]
    )
    assert [isinstance(answer, StorageFull) for answer in answers] == [True, True, False]
    assert store.find_many(["b"]) == {}


def test_everything_that_removes_or_restores_is_possible(store: BallastedStore, crowded: CrowdedDisk) -> None:
    """Forgetting, its undo, expiry and purging all make room, or need hardly any."""
    crowded.is_crowded = True
    everything = Selection(ids=("a", "b"))
    answers = store.apply(
        [
            lambda t: t.find("a"),
            lambda t: t.delete_selected(everything, 5, "once"),
            lambda t: t.restore_deletion("once"),
            lambda t: t.delete_expired(10, 10),
            lambda t: t.set_deleted("a", 5),
            lambda t: t.purge(None, 10, 10),
            lambda t: t.set_property("name", "value"),
        ]
    )
    assert not [answer for answer in answers if isinstance(answer, RequestError)]
    assert set(store.find_many(["a", "b"])) == {"b"}
    assert store.info().rows == 1


def test_what_purging_freed_inside_the_file_is_used_without_the_reserve(
    store: BallastedStore, crowded: CrowdedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file never shrinks, so the disk stays full; forgetting makes room for new memories all the same."""
    monkeypatch.setattr("servers.memory.store.ballasted.LEAST_REUSABLE_BYTES", 20_000)
    crowded.is_crowded = True
    store.apply([inserting("c")])
    monkeypatch.setattr("servers.memory.store.ballast.Ballast._spare_bytes", lambda self: SIZE)
    (refused,) = store.apply([inserting("c")])
    assert isinstance(refused, StorageFull)
    monkeypatch.setattr("servers.memory.store.ballasted.LEAST_REUSABLE_BYTES", 0)
    store.apply([inserting("c")])
    assert set(store.find_many(["c"])) == {"c"}


def test_without_a_reserve_a_full_disk_refuses_everything(tmp_path: Path) -> None:
    """As every store does; what was acknowledged stays."""
    with mounted(Disk()) as disk, closing(BallastedStore(tmp_path, vfs=disk.name, ballast_bytes=0)) as store:
        store.bind_model(MODEL)
        store.apply([inserting("a")])
        disk.fault = apsw.FullError("the disk is full")
        with pytest.raises(StorageFull):
            store.apply([lambda t: t.set_deleted("a", 1)])
        disk.fault = None
        assert set(store.find_many(["a"])) == {"a"}
