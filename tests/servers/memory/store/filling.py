"""Memories and a way to put them, shared by the conformance tests of the stores."""

from collections.abc import Callable

from servers.memory.store.base import Memory, ModelMark, Store, Transaction
from tests.servers.memory.doubles import DIMENSIONS, make_memory

MODEL = ModelMark("a-model", DIMENSIONS)
OpenStore = Callable[[], Store]


def put(store: Store, *memories: Memory) -> list[Memory]:
    """Insert each memory by an operation of its own, in one group."""

    def inserting(memory: Memory) -> Callable[[Transaction], Memory]:
        return lambda transaction: transaction.insert(memory)

    answers = store.apply([inserting(memory) for memory in memories])
    return [answer for answer in answers if isinstance(answer, Memory)]


RICH = make_memory(
    "rich",
    namespace="other",
    text="line\nzero\0 and a smile 🙂",
    timestamp_ms=-1,
    significance=1 / 3,
    surprise=1.0,
    type="fact",
    tags=("ü", ""),
    metadata={"type": "fact", "deep": {"list": [1, 2.5, None, True, "x"]}, "big": 2**63 - 1, 'quo"te': "é"},
    duplicate_of="somebody",
    expires_at_ms=2**40,
)
