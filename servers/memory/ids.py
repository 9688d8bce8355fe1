"""The ids of memories whose clients named none.

It decides their form: a UUID of version 7 (RFC 9562, section 5.7), which begins with the time. Ids of one
moment thus lie side by side in the store's index of ids, where random ones would touch a page of the disk
each.
"""

import random

RANDOM_BITS = 74

_CHANCE = random.Random()
"""Seeded by the operating system; ids need to differ, not to be secret, and asking it for each is slow."""


def new_id(now_ms: int) -> str:
    """Return an id that no other memory has; `now_ms` is the time in epoch milliseconds, 0 to 2^48 - 1."""
    chance = _CHANCE.getrandbits(RANDOM_BITS)
    number = now_ms << 80 | 0x7 << 76 | (chance >> 62) << 64 | 0b10 << 62 | chance & (1 << 62) - 1
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
