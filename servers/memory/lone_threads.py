"""Threads that share work by themselves, so that an operation of torch in one of them runs alone.

It decides how such threads are begun; it does not know the work. Inside an operation of torch, its own
threads would wait for the slowest one at every step, and spin: where other work wants the cores, that costs
most.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def lone_threads(torch: Any, count: int) -> ThreadPoolExecutor:
    """Return so many threads in each of which an operation of torch runs alone; all have begun."""
    around = torch.get_num_threads()
    begun = threading.Barrier(count + 1)

    def begin() -> None:
        torch.set_num_threads(1)
        begun.wait()

    executor = ThreadPoolExecutor(count, thread_name_prefix="memory-scan", initializer=begin)
    for _ in range(count):
        executor.submit(int)
    begun.wait()
    # What was set last holds for threads made later, those of others included.
    torch.set_num_threads(around)
    return executor
