"""`python -m benchmarks.gpu_placement`: what the tests hold against a stand-in for NVML, on a real GPU.

A supervisor with real children on the first GPU: pinned by identifier, memory as the driver tells it, freed
before the respawn, more than there is refused, the budget kept by torch, the inference server on CUDA. Exit
code 6 without a GPU, 1 when something does not hold. Writes `benchmarks/results/gpu_placement.json`.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from launcher.gpus import GpuFacts, NvmlReader
from tests.integration.supervised_stack import SupervisedStack

RESULT = Path(__file__).parent / "results" / "gpu_placement.json"
GIB = 1024**3
HELD_GIB = 4

HOLDER = f"""
import os, signal, socket, torch
kept = torch.ones({HELD_GIB} * 2**30, dtype=torch.uint8, device="cuda")
print("sees", torch.cuda.device_count(), torch.cuda.get_device_properties(0).uuid, flush=True)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
    sender.sendto(b"READY=1\\nX_LUCID_DEVICE=cuda:0", os.environ["NOTIFY_SOCKET"])
signal.pause()
"""
CAPPED = """
import torch
from servers.embedding.torch_engine import cap_memory
cap_memory(torch.device("cuda:0"), 2**30)
try:
    torch.ones(2 * 2**30, dtype=torch.uint8, device="cuda")
except torch.OutOfMemoryError:
    print("refused")
"""


class Findings:
    """What was found, and whether all of it is as it must be."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.broken: list[str] = []

    def note(self, name: str, value: Any, *, holds: bool) -> None:
        """Keep one finding."""
        self.values[name] = value
        if not holds:
            self.broken.append(name)


def measure_holder(stack: SupervisedStack, gpu: GpuFacts, findings: Findings) -> None:
    """Pinning, memory, and the wait for its release after a kill."""
    (stack.folder / "holder.py").write_text(HOLDER)
    command = f"[{sys.executable}, holder.py]"
    keys = f"gpu: {gpu.uuid}, health: {{notify: true}}, restart: {{backoff: {{initial: 10ms}}}}"
    stack.write(f"  a: {{command: {command}, {keys}}}\n")
    stack.start()
    child = stack.wait_state("a", "ready")
    sees = next(line for line in stack.log("a") if "| sees " in line).split("| sees ")[1]
    bare = gpu.uuid.removeprefix("GPU-")
    findings.note("child_sees", sees, holds=sees.startswith("1 ") and bare in sees)
    shown = stack.wait_for("a", lambda seen: seen["vram_bytes"] is not None)["vram_bytes"]
    fits = HELD_GIB * GIB <= shown <= (HELD_GIB + 2) * GIB
    findings.note("vram_bytes_shown", shown, holds=fits)
    os.kill(child["pid"], signal.SIGKILL)
    stack.wait_state("a", "ready", generation=2)
    events = stack.ask("events")["events"]
    findings.note("release_s", _between(events, "stopping", "backoff"), holds=True)
    overlap = [event for event in events if event["to"] == "stopping" and event["cause"] == "killed"]
    findings.note("waited_for_release", len(overlap), holds=len(overlap) == 1)


def _between(events: list[dict[str, Any]], first: str, then: str) -> float:
    """Seconds from the last change to `first` to the change to `then` after it."""
    began = max(event["at"] for event in events if event["to"] == first)
    ended = min(event["at"] for event in events if event["to"] == then and event["at"] >= began)
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()


def measure_refusal(stack: SupervisedStack, gpu: GpuFacts, findings: Findings) -> None:
    """More than the card has is refused before anything starts."""
    keys = f"gpu: {gpu.uuid}, vram: {gpu.total_bytes + GIB}"
    stack.write(f"  a: {{command: [{sys.executable}], {keys}}}\n")
    error = stack.start()["error"]
    findings.note("over_commit", error["code"], holds=error["code"] == "E_VRAM_SHORT")
    stack.wait_end()


def measure_server(stack: SupervisedStack, gpu: GpuFacts, findings: Findings) -> None:
    """The inference server computes on the GPU that it was given, within its budget."""
    stack.write(f"  i: {{server: inference, port: auto, gpu: {gpu.uuid}, vram: 2GiB}}\n")
    stack.start()
    child = stack.wait_for("i", lambda seen: seen["state"] in ("ready", "failed"))
    device = (child["health"]["stats"] or {}).get("device")
    findings.note("server_device", device, holds=device == "cuda:0")
    findings.note("server_ready_s", child["uptime_s"], holds=child["state"] == "ready")


def measure_cap(stack: SupervisedStack, gpu: GpuFacts, findings: Findings) -> None:
    """torch refuses what is over the budget."""
    environ = os.environ | {"CUDA_VISIBLE_DEVICES": gpu.uuid}
    done = subprocess.run([sys.executable, "-c", CAPPED], env=environ, capture_output=True, text=True)
    said = done.stdout.strip() or done.stderr.strip()[-200:]
    findings.note("over_budget", said, holds=said == "refused")


Measure = Callable[[SupervisedStack, GpuFacts, Findings], None]


def run_apart(measure: Measure, gpu: GpuFacts, to: Findings) -> None:
    """One measurement with a supervisor and a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        stack = SupervisedStack(Path(folder))
        try:
            measure(stack, gpu, to)
        finally:
            stack.close()


def main() -> int:
    """Measure, write the result, say it; returns the exit code."""
    report = NvmlReader().read()
    usable = [gpu for gpu in report.gpus if not gpu.is_split]
    if not usable:
        print(f"no GPU here: {report.problem or 'the driver lists none'}", file=sys.stderr)
        return 6
    findings = Findings()
    for measure in (measure_holder, measure_refusal, measure_cap, measure_server):
        run_apart(measure, usable[0], findings)
    machine = {"gpu": usable[0].name, "driver": report.driver_version, "python": platform.python_version()}
    result = {**findings.values, "broken": findings.broken, "machine": machine | {"cores": os.cpu_count()}}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 1 if findings.broken else 0


if __name__ == "__main__":
    sys.exit(main())
