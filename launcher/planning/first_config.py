"""The config.yaml that fits a machine, as text, and what was found on the way to it.

Decides which GPU and which ports the two built-in servers get and what the comments say. Pure but for what it
is told: GPUs come as a report, ports as a probe. Writing the file is `commands.init`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from launcher.configuration.models import AutoGpu
from launcher.configuration.units import format_size
from launcher.gpus import GpuReport
from launcher.placement import Assignment, GpuFacts, GpuRequest, plan_placement

__all__ = ["SCHEMA_NAME", "Draft", "Finding", "PortProbe", "draft_config"]

SCHEMA_NAME = ".config.schema.json"
"""The schema that is written beside the file; its first line points there."""

PortProbe = Callable[[int], str | None]
"""None when the port is free at every loopback address, else who has it."""

_MEMORY_PORT = 5000
_FIRST_INFERENCE_PORT, _LAST_INFERENCE_PORT = 5005, 5014
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}", re.ASCII)
_WORDS_OF_YAML = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})

_TEMPLATE = """\
# yaml-language-server: $schema=<schema>
#
# What runs, and how. Start it with `lucid-launch up`, check it with `lucid-launch config check`,
# and see every value that is not written here with `lucid-launch config show`.
#
# Durations: 500ms 10s 5m 1h30m. Sizes: 10MB 2GiB. From the environment: ${NAME} or
# ${NAME:-default}; $$ is a dollar sign. Paths are relative to this file.

project: <project>

# Any service key may stand here; a service's own value wins.
defaults:
  restart: {policy: on-failure, max_failures: 5}   # in a row, then it is given up and says why
  logs: {max_size: 10MB, backups: 5}               # for each child, in logs/

services:
  # Remembers texts and finds them again by meaning.
  memory:
    server: memory
    <memory port>
    <memory gpu>
    options:
      model: all-MiniLM-L6-v2   # a model's name, or a folder that holds one
      path: data/memory         # where the memories are kept

  # Turns texts into vectors. Clients try port 5005 first, and mostly no other.
  inference:
    server: inference
    port: 5005-5014             # the first free one; anything but 5005 is said loudly
    <inference gpu>
    <threads>
    options:
      model: all-MiniLM-L6-v2

  # Any command can be a service:
  # llm:
  #   command: [vllm, serve, my/model, --port, "${PORT}"]
  #   port: 8000
  #   health: {http: /health, startup_budget: 10m}
  #   depends_on: {memory: ready}
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, and what the file says because of it."""

    name: Literal["gpu", "ports", "model"]
    status: Literal["ok", "warn"]
    detail: str
    choice: str | None = None


@dataclass(frozen=True)
class Draft:
    """The text of the file, ending with a newline, and the findings that shaped it."""

    text: str
    findings: tuple[Finding, ...]


def draft_config(project: str, report: GpuReport, probe: PortProbe, threads: int | None) -> Draft:
    """The file for a stack called `project` (else `lucid`, when YAML would need quotes for that name)."""
    placed, gpu_finding = _gpus(report)
    port, port_findings = _memory_port(probe)
    known = {gpu.uuid: gpu for gpu in report.gpus}
    is_plain = _PLAIN_NAME.fullmatch(project) and project.lower() not in _WORDS_OF_YAML
    parts = {
        "<schema>": SCHEMA_NAME,
        "<project>": project if is_plain else "lucid",
        "<memory port>": _port_line(port),
        "<memory gpu>": _gpu_lines(placed.get("memory"), known),
        "<inference gpu>": _gpu_lines(placed.get("inference"), known),
        "<threads>": _thread_line(threads),
    }
    text = _TEMPLATE
    for mark, part in parts.items():
        text = text.replace(mark, part)
    return Draft(text, (gpu_finding, *port_findings))


def _gpus(report: GpuReport) -> tuple[dict[str, Assignment], Finding]:
    """Where each server goes: the GPU with the most room first, the next one for the other server."""
    requests = [GpuRequest(name, name, AutoGpu()) for name in ("inference", "memory")]
    plan = plan_placement(requests, report.gpus, problem=report.problem)
    placed = {name: each for name, each in plan.assignments.items() if each.ids}
    if not placed:
        why = report.problem or "the driver finds no GPU that can be used"
        return {}, Finding("gpu", "warn", why, "both servers on the CPU, many times slower")
    used = list(dict.fromkeys(each.ids[0] for each in placed.values()))
    described = "; ".join(str(gpu) for gpu in report.gpus if gpu.uuid in used)
    where = "both servers pinned" if len(used) == 1 else "one for each server"
    driver = f" · driver {report.driver_version}" if report.driver_version else ""
    return placed, Finding("gpu", "ok", f"{described}{driver}", where)


def _memory_port(probe: PortProbe) -> tuple[int, list[Finding]]:
    """The memory server's port: 5000, which clients expect, or the next that is free, which is said."""
    findings: list[Finding] = []
    candidates = (port for port in range(_MEMORY_PORT, _FIRST_INFERENCE_PORT) if probe(port) is None)
    port = next(candidates, None)
    holder = probe(_MEMORY_PORT)
    if holder is not None:
        instead = f"memory on {port}; clients expect {_MEMORY_PORT}" if port else None
        findings.append(Finding("ports", "warn", f"{_MEMORY_PORT} is held by {holder}", instead))
    inference_range = range(_FIRST_INFERENCE_PORT, _LAST_INFERENCE_PORT + 1)
    inference = next((number for number in inference_range if probe(number) is None), None)
    free = [str(number) for number in (port, inference) if number is not None]
    if free:
        findings.append(Finding("ports", "ok", f"{', '.join(free)} free"))
    first_holder = probe(_FIRST_INFERENCE_PORT)
    if first_holder is not None:
        instead = f"inference would get {inference}; clients expect {_FIRST_INFERENCE_PORT}"
        detail = f"{_FIRST_INFERENCE_PORT} is held by {first_holder}"
        findings.append(Finding("ports", "warn", detail, instead if inference else None))
    return port or _MEMORY_PORT, findings


def _gpu_lines(placed: Assignment | None, known: Mapping[str, GpuFacts]) -> str:
    """The `gpu` key of one service, with what it means on this machine."""
    if placed is None:
        return "gpu: none                   # no GPU was found here; auto takes one where there is one"
    gpu = known[placed.ids[0]]
    number = gpu.name if gpu.index is None else f"GPU {gpu.index}, {gpu.name}"
    return (
        f"gpu: {gpu.uuid}   # {number}, {format_size(gpu.total_bytes)}; must be there\n"
        "    # vram: 2GB                 # a budget: checked before the start, and a cap for the process"
    )


def _port_line(port: int) -> str:
    if port == _MEMORY_PORT:
        return f"port: {port}                  # exactly this one; clients expect it"
    return f"port: {port}                  # clients expect {_MEMORY_PORT}; another program had it"


def _thread_line(threads: int | None) -> str:
    half = max(1, (threads or 1) // 2)
    return f"# cpus: {half:<19} # threads for the model on the CPU; this machine has {threads or '?'}"
