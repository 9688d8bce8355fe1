"""Which codes a machine searches by: the kernels are tried, and those that are wrong are not used."""

import pytest
import torch

from servers.memory.coding_choice import choose_coding
from servers.memory.float_codes import Float16Coding
from servers.memory.int8_codes import Int8Coding


def test_kernels_that_are_exact_are_used() -> None:
    """What the trial run finds is what the index is built with."""
    coding = Int8Coding()
    expected = "int8" if coding.is_exact(384) else "float16"
    assert choose_coding("cpu", 384).mode == expected


def test_a_processor_without_exact_integer_kernels_searches_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernels are missing or saturate, float16 is the next best."""
    monkeypatch.setattr(torch, "_int_mm", lambda one, other: (one.int() @ other.int()).clamp(max=2**12 - 1))
    assert choose_coding("cpu", 64).mode == "float16"
    monkeypatch.delattr(torch, "_int_mm")
    assert choose_coding("cpu", 64).mode == "float16"


def test_halves_that_are_added_in_half_precision_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build whose sums lose more than the bound allows, or that has no such kernel, searches float32."""
    monkeypatch.delattr(torch, "_int_mm")
    multiply = torch.mv

    def added_in_halves(rows: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        products = rows * query
        total = torch.zeros(len(rows), dtype=torch.float16)
        for column in range(products.shape[1]):
            total += products[:, column]
        return total

    monkeypatch.setattr(torch, "mv", added_in_halves)
    for dimensions in (64, 384, 768):
        assert choose_coding("cpu", dimensions).mode == "float32"
    monkeypatch.setattr(torch, "mv", multiply)
    assert choose_coding("cpu", 64).mode == "float16"
    monkeypatch.delattr(torch, "mv")
    assert choose_coding("cpu", 64).mode == "float32"


def test_a_gpu_searches_what_its_kernels_are_right_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """On CUDA float16 is tried first; integers never are."""
    monkeypatch.setattr(Int8Coding, "is_exact", lambda self, dimensions: True)
    for sound, expected in ((True, "float16"), (False, "float32")):
        monkeypatch.setattr(Float16Coding, "is_sound", lambda self, dimensions, found=sound: found)
        assert choose_coding("cuda:0", 64).mode == expected


def test_a_mode_that_is_asked_for_is_given() -> None:
    """Whatever would have been chosen."""
    assert choose_coding("cpu", 384, "float32").mode == "float32"
    assert choose_coding("cpu", 384, "float16").mode == "float16"
    assert choose_coding("cpu", 384, "int8").mode == "int8"
