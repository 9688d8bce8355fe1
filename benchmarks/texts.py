"""The texts that every inference benchmark embeds, the same in every process and on every run.

Decides their lengths and their words only. Made from a fixed list of common words by a fixed seed, so that no
benchmark needs a data set and no two texts are alike.
"""

from __future__ import annotations

import random

_WORDS = """
the a of to in and that for with on as at by from this will can about into over after under between river
harbour garden market station library kitchen mountain winter summer morning evening engine printer window
server memory letter coffee ticket doctor teacher driver painter neighbour sister brother meeting project
budget invoice contract report answer question problem reason number colour music weather science history
language village country journey road bridge train ship island forest opened closed found lost wrote read
bought sold asked answered moved stayed began ended worked rested quiet bright heavy early late small large
simple difficult narrow careful sudden distant friendly
""".split()  # noqa: SIM905  # a list of words one per line would be longer than this module

_SHORT_WORDS = (6, 18)
_SEED = 20_240_607


def short_texts(count: int, *, seed: int = _SEED) -> list[str]:
    """Return `count` different sentences of 6 to 18 words, about 8 to 24 tokens each."""
    chance = random.Random(seed)
    texts: dict[str, None] = {}
    while len(texts) < count:
        words = chance.choices(_WORDS, k=chance.randint(*_SHORT_WORDS))
        texts[" ".join(words).capitalize() + "."] = None
    return list(texts)
