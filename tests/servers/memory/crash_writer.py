"""A process that stores as fast as it can, to be killed: `python crash_writer.py FOLDER ROUND WRITERS`.

Every acknowledgement is one line on standard output, written at once, so that the pipe holds all of them when
the process dies.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path

from servers.errors import RequestError
from servers.memory.group_commit import GroupCommit
from servers.memory.store.base import Memory, ModelMark, Transaction
from servers.memory.store.sqlite import SqliteStore
from tests.servers.memory.doubles import DIMENSIONS, make_memory


def insert(memory_id: str, transaction: Transaction) -> Memory:
    """Store the memory of that id."""
    return transaction.insert(make_memory(memory_id))


async def keep_storing(writer: GroupCommit[str, Memory], name: str) -> None:
    """Store one memory after the other, saying so after each."""
    for number in count():
        memory = await writer.submit(f"{name}-{number}")
        os.write(1, f"{memory.id}\n".encode())


async def main(folder: Path, name: str, writers: int) -> None:
    """Store until killed."""
    store = SqliteStore(folder)
    store.bind_model(ModelMark("a-model", DIMENSIONS))

    def commit(ids: Sequence[str]) -> list[Memory | RequestError]:
        operations: list[Callable[[Transaction], Memory]] = [partial(insert, memory_id) for memory_id in ids]
        return store.apply(operations)

    writer = GroupCommit(commit, queue_rows=1000)
    await asyncio.gather(*(keep_storing(writer, f"{name}-{place}") for place in range(writers)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
