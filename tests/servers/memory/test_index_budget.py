"""The arithmetic of what fits: never more than the budget, and the least budget is enough."""

from hypothesis import given
from hypothesis import strategies as st

from servers.memory.index_budget import ID_BYTES, ROW_BYTES, IndexBudget

MIB = 1 << 20
budgets = st.builds(
    IndexBudget,
    total_bytes=st.integers(16, 1 << 16).map(lambda mib: mib * MIB),
    dimensions=st.sampled_from([2, 64, 384, 768, 4096]),
    code_bytes=st.sampled_from([0, 64, 384, 768, 8192]),
    most_block_rows=st.just(1 << 16),
)


@given(budget=budgets, share=st.floats(0, 1), id_bytes=st.integers(1, 255))
def test_rows_and_loaded_codes_fit_together(budget: IndexBudget, share: float, id_bytes: int) -> None:
    """Rows, loaded codes and two growing blocks never take more than the budget, however long the ids are."""
    rows = int(share * max(0, budget.most_rows))
    blocks = budget.blocks_loaded(rows, rows * id_bytes)
    kept = rows * (ROW_BYTES - ID_BYTES + id_bytes)
    growing = 2 * budget.block_rows * (4 * budget.dimensions + 2 * budget.code_bytes)
    codes = blocks * budget.block_rows * budget.code_bytes
    assert budget.rows_left(rows, rows * id_bytes) >= 0
    if budget.rows_left(rows, rows * id_bytes):
        assert kept + codes + growing <= budget.total_bytes


@given(budget=budgets, rows=st.integers(0, 10**7))
def test_what_is_left_shrinks_as_rows_come(budget: IndexBudget, rows: int) -> None:
    """More rows leave room for fewer rows and fewer codes."""
    more = rows + 1000
    assert budget.rows_left(more, more * ID_BYTES) <= budget.rows_left(rows, rows * ID_BYTES)
    assert budget.blocks_loaded(more, more * ID_BYTES) <= budget.blocks_loaded(rows, rows * ID_BYTES)
    assert budget.rows_left(rows, rows * ID_BYTES) == max(0, budget.most_rows - rows)


@given(
    rows=st.integers(0, 10**8),
    dimensions=st.sampled_from([2, 384, 4096]),
    code_bytes=st.sampled_from([0, 384, 8192]),
)
def test_the_least_budget_is_enough_and_hardly_more(rows: int, dimensions: int, code_bytes: int) -> None:
    """What an error tells to set is accepted; much less is not."""
    least = IndexBudget.least_bytes(rows, dimensions, code_bytes)
    assert IndexBudget(least, dimensions, code_bytes, 1 << 16).most_rows >= rows
    assert IndexBudget(least * 9 // 10 - 3 * MIB, dimensions, code_bytes, 1 << 16).most_rows < rows


def test_a_million_memories_in_half_a_gibibyte() -> None:
    """Three quarters of the codes of a million memories of 384 dimensions are loaded within 512 MiB."""
    budget = IndexBudget(512 * MIB, 384, 384, 1 << 16)
    loaded = budget.blocks_loaded(10**6, ID_BYTES * 10**6) * budget.block_rows
    assert 0.7 * 10**6 < loaded < 0.9 * 10**6
    assert budget.most_rows > 3 * 10**6
