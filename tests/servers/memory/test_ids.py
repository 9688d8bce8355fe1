"""Ids of memories without a name: valid, unique, in the order of time."""

from uuid import RFC_4122, UUID

from servers.memory.ids import new_id


def test_ids_are_uuids_that_tell_the_time() -> None:
    """Version 7 of the RFC's variant, with the milliseconds in front."""
    for now_ms in (0, 1_750_000_000_000, 2**48 - 1):
        parsed = UUID(new_id(now_ms))
        assert (parsed.version, parsed.variant) == (7, RFC_4122)
        assert parsed.int >> 80 == now_ms
        assert str(parsed) == str(UUID(int=parsed.int))


def test_ids_of_one_moment_differ() -> None:
    """74 random bits keep them apart."""
    assert len({new_id(5) for _ in range(1000)}) == 1000


def test_later_ids_sort_after_earlier_ones() -> None:
    """As text, as the store's index sorts them."""
    ids = [new_id(now_ms) for now_ms in (1, 15, 16, 255, 256, 10**12, 10**13)]
    assert ids == sorted(ids)
