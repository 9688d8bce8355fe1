"""Facts about the index for `stats`: what it searches by, where it lies, and what may still come.

Pure data.
"""

from dataclasses import dataclass

from servers.memory.codes import Mode


@dataclass(frozen=True, slots=True)
class IndexState:
    """The codes that a search passes over first (`mode`) and the memory of this machine that the index holds.

    Of `blocks` full blocks, the vectors of `blocks_in_files` lie in files, and the codes of `blocks_loaded`
    are in memory. Without a budget, `budget_bytes` and `rows_left` are None.
    """

    mode: Mode
    held_bytes: int
    budget_bytes: int | None
    rows_left: int | None
    blocks: int
    blocks_in_files: int
    blocks_loaded: int
