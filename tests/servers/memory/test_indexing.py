"""Which form an index takes: none but the best without a budget, what fits with one, or a clear refusal."""

from pathlib import Path

import pytest

from servers.errors import BadSettings
from servers.memory.columns import BLOCK_ROWS
from servers.memory.indexing import open_index

MIB = 1 << 20


def test_without_a_budget_nothing_is_limited(tmp_path: Path) -> None:
    """The index takes what it needs and touches no folder."""
    index = open_index(384, "cpu", rows=10**9, memory_bytes=None, folder=tmp_path / "index")
    assert (index.state().budget_bytes, index.columns.rows_left()) == (None, None)
    assert index.columns.block_rows == BLOCK_ROWS
    assert not (tmp_path / "index").exists()
    index.close()


def test_a_budget_is_kept_in_mind(tmp_path: Path) -> None:
    """Blocks are small beside it, and it says how many memories it is enough for."""
    index = open_index(384, "cpu", rows=1000, memory_bytes=64 * MIB, folder=tmp_path)
    state = index.state()
    assert state.budget_bytes == 64 * MIB
    assert state.rows_left is not None
    assert 100_000 < state.rows_left < 64 * MIB // 100
    assert index.columns.block_rows < BLOCK_ROWS
    index.close()


def test_too_little_for_any_form_is_refused_with_what_is_enough(tmp_path: Path) -> None:
    """The error names the option, the memories and a budget that is accepted."""
    with pytest.raises(BadSettings) as refused:
        open_index(384, "cpu", rows=10**6, memory_bytes=64 * MIB, folder=tmp_path)
    error = refused.value
    assert "1000000 memories" in error.what
    assert "index_memory" in (error.where or "")
    enough = int((error.mend or "").partition("MiB")[0].rpartition(" ")[2])
    open_index(384, "cpu", rows=10**6, memory_bytes=enough * MIB, folder=tmp_path).close()
    with pytest.raises(BadSettings):
        open_index(384, "cpu", rows=10**6, memory_bytes=enough * MIB * 3 // 4, folder=tmp_path)
