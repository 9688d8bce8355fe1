"""launcher.children.gpu_watch and gpu_use: seats, memory and devices, against a stand-in for NVML."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from launcher.children.environment import build_environment, choose_cpus
from launcher.children.gpu_use import GpuGone, find_mismatch, own_vram_bytes, seat_again
from launcher.children.gpu_watch import GpuWatch
from launcher.configuration.models import Service
from launcher.configuration.values import parse_gpu
from launcher.gpus import GpuReport, NvmlReader
from launcher.placement import CPU, Assignment, GpuFacts, GpuHolder, GpuRequest
from tests.launcher.children.test_environment import FACTS
from tests.launcher.nvml_double import GIB, FakeNvml, NVMLError

SEAT = Assignment(("GPU-0",), "cuda:0", "GPU-0")


def facts(uuid: str, held: dict[int, int | None] | None = None, parent: str | None = None) -> GpuFacts:
    """A GPU of 80 GiB."""
    holders = tuple(GpuHolder(pid, used) for pid, used in (held or {}).items())
    return GpuFacts(uuid, 0, "H200", 80 * GIB, 80 * GIB, holders, parent=parent)


def request(gpu: object) -> GpuRequest:
    """What the only child of a service asks for."""
    return GpuRequest("i", "i", parse_gpu(gpu))


def service(**keys: object) -> Service:
    """A built-in server unless told otherwise."""
    return Service.model_validate({"name": "i", **({"server": "inference"} | keys)})


def test_a_child_keeps_its_seat_while_its_gpu_answers() -> None:
    """Nothing moves without need."""
    assert seat_again(request("auto"), SEAT, GpuReport((facts("GPU-0"), facts("GPU-1"))), None) is SEAT


def test_a_child_moves_to_another_gpu_and_then_to_the_cpu() -> None:
    """With `auto` a lost GPU is replaced, loudly."""
    moved = seat_again(request("auto"), SEAT, GpuReport((facts("GPU-1"),), problem="GPU 0 is lost"), None)
    assert moved.ids == ("GPU-1",)
    assert "GPU-0 is gone (GPU 0 is lost)" in (moved.note or "")
    stranded = seat_again(request("auto"), SEAT, GpuReport(()), None)
    assert (stranded.ids, stranded.device) == ((), "cpu")
    assert "the CPU" in (stranded.note or "")


def test_a_named_gpu_that_is_gone_is_a_failed_start() -> None:
    """Whoever names a GPU wants that one."""
    with pytest.raises(GpuGone, match=r"GPU-0 is gone \(the driver lists it no more\)"):
        seat_again(request(0), SEAT, GpuReport((facts("GPU-1"),)), None)


@pytest.mark.parametrize(
    ("wanted", "seat", "device", "is_wrong"),
    [
        (service(), SEAT, "cpu", True),
        (service(), SEAT, "cuda:0", False),
        (service(), CPU, "cpu", False),
        (service(options={"device": "cpu"}), SEAT, "cpu", False),
        (service(options={"backend": "debug"}), SEAT, "cpu", False),
        (service(server=None, command=("x",)), SEAT, "cpu", False),
        (service(server=None, command=("x",), gpu=parse_gpu(0)), SEAT, "cpu", True),
    ],
)
def test_cuda_asked_and_cpu_got_is_told(
    wanted: Service, seat: Assignment, device: str, is_wrong: bool
) -> None:
    """A server that was given a GPU must use it, and so must a command whose file asks for one."""
    text = find_mismatch(wanted, seat, device)
    assert (text is not None) == is_wrong
    if text is not None:
        assert "GPU-0" in text
        assert "computes on cpu" in text


def test_memory_is_that_of_the_childs_own_processes() -> None:
    """Of all holders only ours count, once even where a MIG device's show at its GPU; None is not 0."""
    gpus = [facts("GPU-0", {1: GIB, 2: 2 * GIB, 9: GIB, 3: None}), facts("MIG-0", {1: GIB}, parent="GPU-0")]
    assert own_vram_bytes(gpus, SEAT, {1, 2, 3}, None) == 3 * GIB
    assert own_vram_bytes(gpus, SEAT, {77}, None) is None
    assert own_vram_bytes(gpus, CPU, {1}, None) is None


def test_in_a_pid_namespace_torch_is_believed() -> None:
    """Where NVML shows nothing of ours, the child's own stats tell what it has reserved."""
    assert own_vram_bytes([facts("GPU-0")], SEAT, {1}, {"gpu": {"cached": 1.5}}) == int(1.5 * GIB)
    assert own_vram_bytes([facts("GPU-0")], SEAT, {1}, {"gpu": "none"}) is None


async def test_a_release_is_waited_for() -> None:
    """As long as one of the processes holds memory the wait goes on; strangers do not matter."""
    nvml = FakeNvml({0: (80, 70)})
    nvml.holders = {"0": {5: GIB, 9: GIB}}
    watch = GpuWatch(NvmlReader(nvml))
    waiting = asyncio.create_task(watch.wait_released(("GPU-0",), {5}))
    for _ in range(2):
        await watch.refresh()
    assert not waiting.done()
    nvml.holders = {"0": {9: GIB}}
    async with asyncio.timeout(5):
        assert await waiting is None
    watch.close()


async def test_memory_that_is_never_released_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the limit the wait ends with who still holds how much."""
    monkeypatch.setattr("launcher.children.gpu_watch._RELEASE_LIMIT_S", 0.0)
    nvml = FakeNvml({0: (80, 70)})
    nvml.holders = {"0": {5: GIB}}
    watch = GpuWatch(NvmlReader(nvml))
    assert await watch.wait_released(("GPU-0",), {5}) == "pid 5 still holds 1.1 GB of GPU-0"
    watch.close()


async def test_a_gpu_that_vanished_is_not_waited_for() -> None:
    """What a lost GPU held is nobody's to wait for."""
    watch = GpuWatch(NvmlReader(FakeNvml({0: NVMLError("lost")})))
    assert await watch.wait_released(("GPU-0",), {5}) is None
    watch.close()


class StuckReader:
    """A driver that does not answer until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.reads = 0

    def read(self) -> GpuReport:
        """Wait, then answer."""
        self.reads += 1
        assert self.go.wait(30)
        return GpuReport((facts("GPU-0"),))

    def close(self) -> None:
        """Nothing is held."""


async def test_a_silent_driver_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop goes on, the silence is the problem that is told, and only one reading is under way."""
    monkeypatch.setattr("launcher.children.gpu_watch._ANSWER_LIMIT_S", 0.05)
    reader = StuckReader()
    watch = GpuWatch(reader)
    for _ in range(3):
        assert "has not answered" in str((await watch.refresh()).problem)
    assert reader.reads == 1
    reader.go.set()
    monkeypatch.setattr("launcher.children.gpu_watch._ANSWER_LIMIT_S", 30.0)
    report = await watch.refresh()
    assert (len(report.gpus), report.problem) == (1, None)
    watch.close()


@pytest.mark.parametrize(
    ("cpus", "near", "chosen"),
    [
        (None, (0, 1), (0, 1)),
        (None, (0, 1, 2, 3), None),
        (None, (), None),
        (None, (8, 9), None),
        (2, (0, 1), None),
        ((3,), (0, 1), (3,)),
    ],
)
def test_a_child_runs_near_its_gpu_unless_told(
    cpus: object, near: tuple[int, ...], chosen: tuple[int, ...] | None
) -> None:
    """`cpus` wins; else the processors of the GPU's NUMA node, as far as we may use them."""
    seat = Assignment(("GPU-0",), "cuda:0", "GPU-0", cpus=near)
    assert choose_cpus(service(cpus=cpus), seat, {0, 1, 2, 3}) == chosen


def test_servers_threads_sleep_while_they_wait(tmp_path: Path) -> None:
    """OpenMP's threads must not take the other server's cores, unless somebody wants it so."""
    assert build_environment(service(), FACTS, {})["OMP_WAIT_POLICY"] == "PASSIVE"
    assert build_environment(service(), FACTS, {"OMP_WAIT_POLICY": "ACTIVE"})["OMP_WAIT_POLICY"] == "ACTIVE"
    wanted = service(env={"OMP_WAIT_POLICY": "ACTIVE"})
    assert build_environment(wanted, FACTS, {})["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "OMP_WAIT_POLICY" not in build_environment(service(server=None, command=("x",)), FACTS, {})
