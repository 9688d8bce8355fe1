"""GPUs in words: what is known, in fixed units; what is not is left out."""

from typing import Any

import pytest

from launcher.terminal.gpu_cells import gpu_figure, gpu_memory, gpu_rows, heat_and_power

GIB = 1024**3
GPU: dict[str, Any] = {
    "uuid": "GPU-1",
    "index": 0,
    "name": "NVIDIA H200",
    "total_bytes": 139 * GIB,
    "free_bytes": 120 * GIB,
    "utilization_percent": 31,
    "temperature_c": 54,
    "power_w": 212.4,
    "children": ["inference"],
}


def test_everything_known() -> None:
    """One line: who, how busy, how full, how warm, how hungry, for whom."""
    assert gpu_rows({"gpus": [GPU]}) == ["GPU 0 H200   31%  19.0G/139G  54°C  212 W  inference"]


def test_nothing_known() -> None:
    """What the driver does not tell is left out, and is never 0."""
    assert gpu_rows({"gpus": [{"uuid": "GPU-1", "index": 1, "name": None}]}) == ["GPU 1      -"]


def test_a_gpu_that_is_lost_says_why() -> None:
    """In the driver's words, made harmless."""
    gpu = {"uuid": "GPU-1", "index": None, "name": None, "problem": "gone\x1b[2J", "children": ["a"]}
    assert gpu_rows({"gpus": [gpu]})[0].endswith("gone  a")


@pytest.mark.parametrize("document", [{}, {"gpus": []}, {"gpus": None}, {"gpus": [{"index": 0}]}])
def test_no_gpu_no_line(document: dict[str, Any]) -> None:
    """A machine without one has no lines about it."""
    assert gpu_rows(document) == []


def test_users_are_found_by_their_place_when_the_gpu_does_not_name_them() -> None:
    """As an older supervisor tells it: only children with a process count."""
    child = {"name": "a", "pid": 7, "gpu": {"ids": ["GPU-1"]}}
    stopped = {"name": "b", "pid": None, "gpu": {"ids": ["GPU-1"]}}
    gpu = {key: value for key, value in GPU.items() if key != "children"}
    document = {"gpus": [gpu], "services": {"s": {"children": [child, stopped]}}}
    assert gpu_rows(document)[0].endswith("W  a")


def test_units_without_glyphs() -> None:
    """ASCII where it must be."""
    assert heat_and_power(GPU, ascii_only=True) == "54 C  212 W"


def test_memory_is_what_was_told_or_the_difference() -> None:
    """`used_bytes` wins; without either it is unknown."""
    assert gpu_memory({"used_bytes": 1, "total_bytes": 4, "free_bytes": 2}) == (1, 4)
    assert gpu_memory({"total_bytes": 4, "free_bytes": 1}) == (3, 4)
    assert gpu_memory({}) == (None, None)


@pytest.mark.parametrize(("told", "value"), [(0, 0.0), (None, None), ("hot", None)])
def test_a_figure_is_a_number_or_unknown(told: object, value: float | None) -> None:
    """0 is a figure; anything else than a number is unknown."""
    assert gpu_figure({"power_w": told}, "power") == value
