"""What an engine may use of this machine, and what makes it another machine."""

import os
import sys
from pathlib import Path

import pytest

from servers.embedding import machine

NO_QUOTA = Path("/nonexistent")


def test_threads_come_from_the_option_then_the_environment_then_the_mask() -> None:
    """The option wins over OMP_NUM_THREADS, which wins over the cores that the process may use."""
    assert machine.cpu_threads(3, {"OMP_NUM_THREADS": "5"}, NO_QUOTA) == 3
    assert machine.cpu_threads(None, {"OMP_NUM_THREADS": "5"}, NO_QUOTA) == 5
    assert machine.cpu_threads(None, {"OMP_NUM_THREADS": "4,2"}, NO_QUOTA) == 4
    allowed = len(os.sched_getaffinity(0))
    assert machine.cpu_threads(None, {}, NO_QUOTA) == allowed
    assert machine.cpu_threads(None, {"OMP_NUM_THREADS": "many"}, NO_QUOTA) == allowed


@pytest.mark.parametrize(
    ("text", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("nonsense", None)]
)
def test_a_control_group_s_quota_limits_the_threads(text: str, cores: int | None, tmp_path: Path) -> None:
    """More threads than the quota would only be throttled; no quota is no limit."""
    quota = tmp_path / "cpu.max"
    quota.write_text(text, "utf-8")
    assert machine.cpu_threads(None, {}, quota) == (cores or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16\n", True),
        ("processor\t: 0\nflags\t\t: fpu amx_bf16\n", True),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx2\n", False),
        ("", False),
    ],
)
def test_bfloat16_is_read_from_the_cpu_s_flags(cpuinfo: str, expected: bool) -> None:
    """Only instructions that multiply bfloat16 count."""
    assert machine.has_bfloat16(cpuinfo) is expected


def test_a_hidden_gpu_is_none(tmp_path: Path) -> None:
    """The launcher hides GPUs by an empty CUDA_VISIBLE_DEVICES; without a driver there is none either."""
    assert not machine.may_have_cuda({}, tmp_path / "missing")
    assert not machine.may_have_cuda({}, tmp_path)
    (tmp_path / "0000:01:00.0").mkdir()
    assert machine.may_have_cuda({}, tmp_path)
    assert machine.may_have_cuda({"CUDA_VISIBLE_DEVICES": "1"}, tmp_path)
    assert not machine.may_have_cuda({"CUDA_VISIBLE_DEVICES": ""}, tmp_path)
    assert not machine.may_have_cuda({"CUDA_VISIBLE_DEVICES": "-1"}, tmp_path)


def test_the_machine_is_described_by_its_cpu_and_its_libraries() -> None:
    """A change of any version makes it another machine; what is not installed is said to be so."""
    described = machine.describe_machine()
    assert described["cpu"]
    assert described["versions"]["torch"]
    assert machine.library_version("no-such-distribution") is None
    assert described == machine.describe_machine()


def test_an_engine_s_presence_is_known_without_importing_it() -> None:
    """Finding out what is installed costs nothing."""
    before = set(sys.modules)
    assert "torch" in machine.installed_backends()
    assert not {name for name in set(sys.modules) - before if name.partition(".")[0] in ("torch", "openvino")}
