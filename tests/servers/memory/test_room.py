"""How many memories and namespaces may come in."""

import pytest

from servers.errors import StorageFull
from servers.memory.room import Room
from servers.memory.store.base import Memory
from tests.servers.memory.doubles import make_memory


def memories(*namespaces: str) -> list[Memory]:
    """A memory in each of these namespaces."""
    return [make_memory(f"m{place}", namespace=name) for place, name in enumerate(namespaces)]


def test_without_limits_everything_fits() -> None:
    """No option, no limit; nothing has to be counted for it."""
    room = Room()
    assert not room.is_limited
    room.take(memories(*(f"n{place}" for place in range(1000))))


def test_memories_are_refused_whole_beyond_their_limit() -> None:
    """What one change adds fits or does not; a refusal uses up nothing, and names the option."""
    room = Room(most_memories=5)
    room.begin(3, 1, lambda name: True)
    with pytest.raises(StorageFull, match="max_memories") as caught:
        room.take(memories("a", "a", "a"))
    assert caught.value.details == {"limit": 5, "option": "max_memories"}
    room.take(memories("a", "a"))
    with pytest.raises(StorageFull):
        room.take(memories("a"))


def test_only_new_namespaces_count_against_their_limit() -> None:
    """A namespace that is there takes in memories without end; a new one is refused beyond the limit."""
    room = Room(most_namespaces=3)
    room.begin(9, 2, {"old", "older"}.__contains__)
    room.take(memories("old", "older", "old"))
    with pytest.raises(StorageFull, match="max_namespaces"):
        room.take(memories("new", "newer"))
    room.take(memories("new", "old"))
    room.take(memories("new"))
    with pytest.raises(StorageFull):
        room.take(memories("newest"))


def test_each_group_counts_anew() -> None:
    """What a group was refused or undone does not weigh on the next one."""
    room = Room(most_memories=1, most_namespaces=1)
    for _ in range(3):
        room.begin(0, 0, lambda name: False)
        room.take(memories("a"))


def test_what_adds_nothing_always_fits() -> None:
    """A repeated store on a full store is answered as the first one was."""
    room = Room(most_memories=1)
    room.begin(5, 1, lambda name: True)
    room.take([])


def test_rows_of_the_index_are_counted_for_what_is_added_and_what_is_written_anew() -> None:
    """Both take room in the index; a refusal names the option and says what gives room back."""
    left = 5
    room = Room(rows_left=lambda: left)
    assert room.is_limited
    room.begin(100, 1, lambda name: True)
    room.take(memories("a"), memories("a", "a"))
    with pytest.raises(StorageFull, match="restart") as caught:
        room.take(memories("a"), memories("a", "a"))
    assert caught.value.details == {"limit": 2, "option": "index_memory"}
    room.take(memories("a", "a"))
    room.take([])
    with pytest.raises(StorageFull):
        room.take([], memories("a"))
    room.begin(100, 1, lambda name: True)
    room.take(memories("a", "a", "a"))
