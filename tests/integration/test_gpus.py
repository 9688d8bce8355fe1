"""GPUs end to end: a real supervisor with a stand-in for NVML, whose cards and holders change under it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.supervised_stack import SupervisedStack, hostile
from tests.launcher.nvml_double import GIB, write_module, write_state

FAST = "restart: {backoff: {initial: 10ms}}"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the supervisor's NVML answers; two cards at first."""
    state = tmp_path / "nvml.json"
    write_state(state, {0: (80, 80), 1: (80, 40)})
    write_module(tmp_path / "nvml", state)
    paths = [str(tmp_path / "nvml"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    return state


@pytest.fixture
def stack(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedStack]:
    """A stack in a folder of its own, ended after the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    stack = SupervisedStack(tmp_path)
    yield stack
    stack.close()


def test_a_child_is_pinned_by_identifier_and_its_memory_is_shown(stack: SupervisedStack, state: Path) -> None:
    """The child sees one GPU by its UUID; status tells the GPUs, who sits there, and how much it holds."""
    stack.write(f"  a: {{command: {hostile('--print-environment', '--ready')}, health: {{notify: true}}}}\n")
    stack.start()
    child = stack.wait_state("a", "ready")
    assert child["gpu"]["ids"] == ["GPU-0"]
    write_state(state, {0: (80, 75), 1: (80, 40)}, {child["pid"]: 5 * GIB, 1: GIB})
    stack.wait_for("a", lambda seen: seen["vram_bytes"] == 5 * GIB)
    gpus = {gpu["uuid"]: gpu for gpu in stack.ask("snapshot")["snapshot"]["gpus"]}
    assert set(gpus) == {"GPU-0", "GPU-1"}
    assert gpus["GPU-0"]["children"] == ["a"]
    assert [(h["pid"], h["child"]) for h in gpus["GPU-0"]["holders"]] == [(child["pid"], "a"), (1, None)]
    environ = [line.split(" | ", 1)[1] for line in stack.log("a") if " | env CUDA" in line]
    assert environ == ["env CUDA_DEVICE_ORDER=PCI_BUS_ID", "env CUDA_VISIBLE_DEVICES=GPU-0"]
    # Free it before the child is stopped: the stack waits ten seconds for what a dead one still holds.
    write_state(state, {0: (80, 80), 1: (80, 40)})


def test_no_sibling_starts_while_the_memory_is_held(stack: SupervisedStack, state: Path) -> None:
    """A killed child stays `stopping` until the driver has freed what it held."""
    stack.write(f"  a: {{command: {hostile()}, {FAST}}}\n")
    stack.start()
    pid = stack.wait_state("a", "ready")["pid"]
    write_state(state, {0: (80, 75), 1: (80, 40)}, {pid: 5 * GIB})
    stack.wait_for("a", lambda seen: seen["vram_bytes"] == 5 * GIB)
    os.kill(pid, signal.SIGKILL)
    stopping = stack.wait_state("a", "stopping")
    assert (stopping["generation"], stopping["restarts"]) == (1, 0)
    write_state(state, {0: (80, 80), 1: (80, 40)})
    again = stack.wait_state("a", "ready", generation=2)
    assert (again["restarts"], again["last_exit"]["reason"]) == (1, "killed")


def test_a_gpu_that_vanishes_is_left(stack: SupervisedStack, state: Path) -> None:
    """With `auto` the next generation runs elsewhere and says so; a service that names the GPU fails."""
    stack.write(
        f"  a: {{command: {hostile()}, gpu: auto, {FAST}}}\n"
        f"  b: {{command: {hostile()}, gpu: 0, restart: {{policy: never}}}}\n"
    )
    stack.start()
    pids = {name: stack.wait_state(name, "ready")["pid"] for name in ("a", "b")}
    seats = {name: stack.child(name)["gpu"]["ids"] for name in pids}
    assert seats == {"a": ["GPU-0"], "b": ["GPU-0"]}
    write_state(state, {0: "GPU is lost", 1: (80, 40)})
    os.kill(pids["a"], signal.SIGKILL)
    moved = stack.wait_state("a", "ready", generation=2)
    assert moved["gpu"]["ids"] == ["GPU-1"]
    notes = stack.ask("snapshot")["snapshot"]["services"]["a"]["notes"]
    assert any("GPU-0 is gone" in note for note in notes)
    stack.ask("restart", services=["b"])
    stack.ask("stop", services=["b"])
    stack.wait_state("b", "stopped")
    lost = next(gpu for gpu in stack.ask("snapshot")["snapshot"]["gpus"] if gpu["uuid"] == "GPU-0")
    assert (lost["free_bytes"], "GPU is lost" in lost["problem"]) == (None, True)


def test_a_named_gpu_that_is_gone_fails_the_start(stack: SupervisedStack, state: Path) -> None:
    """It is tried again as the policy says, and the reason names the GPU."""
    restart = "restart: {backoff: {initial: 10ms}, max_failures: 2}"
    stack.write(f"  b: {{command: {hostile()}, gpu: 0, {restart}}}\n")
    stack.start()
    pid = stack.wait_state("b", "ready")["pid"]
    write_state(state, {0: "GPU is lost", 1: (80, 40)})
    os.kill(pid, signal.SIGKILL)
    failed = stack.wait_state("b", "failed")
    assert failed["last_exit"]["reason"] == "spawn_failed"
    assert "GPU-0 is gone (GPU 0 does not answer: GPU is lost)" in failed["reason"]


def test_cuda_asked_and_cpu_got_is_failed(stack: SupervisedStack) -> None:
    """A child that computes on the CPU though its file asks for a GPU is not left to be slow in silence."""
    stack.write(f"  a: {{command: {hostile('--ready')}, gpu: 0, health: {{notify: true}}}}\n")
    stack.start()
    failed = stack.wait_state("a", "failed")
    assert failed["last_exit"]["reason"] == "wrong_device"
    assert "it was given GPU-0 and computes on cpu" in failed["reason"]
    assert failed["generation"] == 1


def test_a_child_over_its_gpu_memory_is_drained_and_restarted(stack: SupervisedStack, state: Path) -> None:
    """The limit is on what the driver says that the child's processes hold."""
    limits = "limits: {vram: 1GB}, restart: {policy: never}"
    stack.write(f"  a: {{command: {hostile()}, {limits}}}\n")
    stack.start()
    pid = stack.wait_state("a", "ready")["pid"]
    write_state(state, {0: (80, 75), 1: (80, 40)}, {pid: 5 * GIB})
    stack.wait_for("a", lambda seen: seen["state"] == "stopping" and "GPU memory" in seen["reason"])
    write_state(state, {0: (80, 80), 1: (80, 40)})
    failed = stack.wait_state("a", "failed")
    assert (failed["last_exit"]["reason"], failed["last_exit"]["code"]) == ("vram_limit", 0)


def test_more_than_there_is_is_refused_with_the_holders(stack: SupervisedStack, state: Path) -> None:
    """Nothing starts, and the refusal says what is free and who holds the rest."""
    write_state(state, {0: (80, 10)}, {os.getpid(): 70 * GIB})
    stack.write(f"  a: {{command: {hostile()}, gpu: 0, vram: 20GB}}\n")
    error = stack.start()["error"]
    assert (error["code"], error["exit_code"]) == ("E_VRAM_SHORT", 6)
    assert "needs 20 GB on GPU 0" in error["message"]
    assert f"pid {os.getpid()} (" in error["hint"]
    assert stack.wait_end() == 6
