"""The index in the form that fits this machine and the memory it may have.

It decides which codes, blocks and residency go together; it does not fill the index.
"""

from pathlib import Path

from servers.errors import BadSettings
from servers.memory.coding_choice import choose_coding
from servers.memory.columns import BLOCK_ROWS
from servers.memory.index import VectorIndex
from servers.memory.index_budget import IndexBudget
from servers.memory.residency import Budgeted


def open_index(
    dimensions: int, device: str, *, rows: int, memory_bytes: int | None, folder: Path
) -> VectorIndex:
    """Return an empty index that will take so many rows at first, and files in `folder` if it has a budget.

    Raises BadSettings when `memory_bytes` (None: any) are too few for so many rows in any form.
    """
    if memory_bytes is None:
        return VectorIndex(dimensions, device)
    coding = choose_coding(device, dimensions, is_frugal=True)
    code_bytes = coding.row_bytes(dimensions)
    budget = IndexBudget(memory_bytes, dimensions, code_bytes, BLOCK_ROWS)
    if rows > budget.most_rows:
        least = IndexBudget.least_bytes(rows, dimensions, code_bytes)
        raise BadSettings(
            f"{memory_bytes >> 20} MiB are too little for the index of {rows} memories of {dimensions} "
            "dimensions, even with all vectors and codes on the disk",
            where="option index_memory",
            mend=f"set index_memory to {least >> 20}MiB or more, or leave it out for no limit",
        )
    return VectorIndex(
        dimensions, device, coding=coding, block_rows=budget.block_rows, residency=Budgeted(budget, folder)
    )
