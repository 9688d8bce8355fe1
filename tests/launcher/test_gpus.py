"""NVML read through a stand-in: none, one, four, MIG, a lost card, an old driver."""

import os

import pytest

from launcher.gpus import NvmlReader
from tests.launcher.nvml_double import GIB, FakeNvml, LibraryNotFound, NVMLError


@pytest.mark.parametrize("count", [0, 1, 4])
def test_each_gpu_is_read(count: int) -> None:
    """Identifier, index, name, memory and holders; NVML is closed again."""
    nvml = FakeNvml({index: (141, 100 + index) for index in range(count)})
    nvml.holders = {str(index): {os.getpid(): GIB, 2**22 + 1: None} for index in range(count)}
    report = NvmlReader(nvml).read()
    assert [gpu.uuid for gpu in report.gpus] == [f"GPU-{index}" for index in range(count)]
    assert [gpu.index for gpu in report.gpus] == list(range(count))
    assert report.driver_version == "580.82"
    assert report.problem is None
    assert not nvml.is_open
    for gpu in report.gpus:
        assert (gpu.name, gpu.total_bytes, gpu.is_split) == ("NVIDIA H200", 141 * GIB, False)
        assert gpu.free_bytes == (100 + (gpu.index or 0)) * GIB
        held = [(holder.pid, holder.used_bytes) for holder in gpu.holders]
        assert held == [(os.getpid(), GIB), (2**22 + 1, None)]
        assert (gpu.holders[0].name is None, gpu.holders[1].name) == (False, None)
        assert (gpu.cpus, gpu.utilization_percent) == ((gpu.index,), 50)
        assert (gpu.temperature_c, gpu.power_w) == (54, 212.4)


def test_mig_devices_are_listed_beside_their_gpu() -> None:
    """The whole is marked as split; its parts have no index but a parent."""
    whole, *parts = NvmlReader(FakeNvml({0: (141, 141)}, mig=2)).read().gpus
    assert whole.is_split
    assert [(part.uuid, part.index, part.parent) for part in parts] == [
        ("MIG-0.0", None, "GPU-0"),
        ("MIG-0.1", None, "GPU-0"),
    ]
    assert all(part.holders == () for part in parts)


def test_a_lost_card_does_not_hide_the_others() -> None:
    """It is a problem beside the healthy ones."""
    report = NvmlReader(FakeNvml({0: NVMLError("GPU is lost"), 1: (80, 80)})).read()
    assert [gpu.index for gpu in report.gpus] == [1]
    assert report.problem == "GPU 0 does not answer: GPU is lost"


@pytest.mark.parametrize(
    ("error", "words"),
    [(LibraryNotFound(), "no NVIDIA driver answers"), (NVMLError("driver/library mismatch"), "mismatch")],
)
def test_no_driver_is_a_reason_and_no_exception(error: NVMLError, words: str) -> None:
    """Empty, with why."""
    report = NvmlReader(FakeNvml({}, init=error)).read()
    assert report.gpus == ()
    assert words in (report.problem or "")


def test_nvml_stays_open_until_something_is_wrong() -> None:
    """Opened once for many readings, anew after an error, and given back at the end."""
    nvml = FakeNvml({0: (80, 80)})
    reader = NvmlReader(nvml, keep_open=True)
    assert [len(reader.read().gpus) for _ in range(3)] == [1, 1, 1]
    assert nvml.opened == 1
    nvml.cards[0] = NVMLError("GPU is lost")
    assert reader.read().gpus == ()
    assert not nvml.is_open
    nvml.cards[0] = (80, 80)
    assert len(reader.read().gpus) == 1
    assert nvml.opened == 2
    reader.close()
    reader.close()
    assert not nvml.is_open


def test_an_nvml_that_errs_is_a_problem_and_no_exception() -> None:
    """A driver that was updated under us answers every question with an error."""
    nvml = FakeNvml({})
    nvml.count_error = NVMLError("Unknown Error")
    assert NvmlReader(nvml).read().problem == "the NVIDIA driver answers with an error: Unknown Error"
