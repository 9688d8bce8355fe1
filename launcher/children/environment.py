"""What a child is told: its environment and command line (launcher.md section 6).

Pure but for reading `env_file`. Decides precedence (the supervisor's own environment, then `env_file`, then
`env`, then the contract's variables, which nobody overrides) and which placeholders of a command and of
`env` are filled in.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.import_path import SAFE_PATH, is_ours_alone
from launcher.placement import Assignment

if TYPE_CHECKING:
    from launcher.configuration.models import Service

__all__ = ["ChildFacts", "build_argv", "build_environment", "choose_cpus", "fill_in", "thread_count"]

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
)
_NEVER_INHERITED = re.compile(r"PORT|HOST|NOTIFY_SOCKET|WATCHDOG_.*|LISTEN_.*|LUCID_.*")
_PLACEHOLDER = re.compile(r"\$\{(PORT|HOST|LUCID_[A-Z_]+)\}")


@dataclass(frozen=True)
class ChildFacts:
    """What is known of one generation before it is spawned; `cuda_visible_devices` is "" for the CPU."""

    child: str
    generation: int
    port: int | None
    socket_names: tuple[str, ...]
    notify_address: str
    cuda_visible_devices: str
    device: str
    peers: Mapping[str, str]
    private_port: int | None = None


def build_environment(service: Service, facts: ChildFacts, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a child but LISTEN_PID and the nonce; raises OSError for a bad
    `env_file`.
    """
    environ = {name: value for name, value in inherited.items() if not _NEVER_INHERITED.fullmatch(name)}
    # A pipe makes Python hold its output back until 8 KiB are together; the log would lag behind.
    environ.setdefault("PYTHONUNBUFFERED", "1")
    if service.server is None and is_ours_alone(inherited):
        environ.pop(SAFE_PATH)
    if service.server is not None:
        # Threads that spin while they wait take the cores from the other server's.
        environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    threads = thread_count(service)
    if threads is not None:
        environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    if service.env_file is not None:
        environ.update(_read_env_file(service.env_file))
    contract = _contract_variables(service, facts)
    environ.update(zip(service.env, fill_in(tuple(service.env.values()), contract), strict=True))
    environ.update(contract)
    return environ


def build_argv(service: Service, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the command line of a child, its placeholders filled in from its environment."""
    if service.server is not None:
        return (sys.executable, "-m", f"servers.{service.server}")
    return fill_in(service.command or (), environ)


def fill_in(argv: tuple[str, ...], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Replace `${PORT}`, `${HOST}` and `${LUCID_…}`; a name that is not known becomes empty."""
    return tuple(_PLACEHOLDER.sub(lambda match: environ.get(match[1], ""), word) for word in argv)


def thread_count(service: Service) -> int | None:
    """Return how many threads `cpus` asks for, or None when it is not given."""
    return len(service.cpus) if isinstance(service.cpus, tuple) else service.cpus


def choose_cpus(service: Service, gpu: Assignment, usable: Collection[int]) -> tuple[int, ...] | None:
    """Return the processors that the child may run on: those of `cpus`, else those near its GPU.

    None for all: nothing was asked for, or what is near is every processor that is `usable`, or none is.
    """
    if isinstance(service.cpus, tuple):
        return service.cpus
    near = tuple(cpu for cpu in gpu.cpus if cpu in usable) if service.cpus is None else ()
    return near if 0 < len(near) < len(usable) else None


def _contract_variables(service: Service, facts: ChildFacts) -> dict[str, str]:
    variables = {
        "HOST": service.host,
        "LUCID_SERVICE": service.name,
        "LUCID_CHILD": facts.child,
        "LUCID_GENERATION": str(facts.generation),
        "LUCID_OPTIONS": json.dumps(service.options),
        "LUCID_PEERS": json.dumps(dict(facts.peers)),
        "LUCID_DEVICE": facts.device,
        "NOTIFY_SOCKET": facts.notify_address,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": facts.cuda_visible_devices,
    }
    if facts.port is not None:
        variables["PORT"] = str(facts.port)
    if facts.private_port is not None:
        variables["LUCID_PRIVATE_PORT"] = str(facts.private_port)
    if facts.socket_names:
        variables["LISTEN_FDS"] = str(len(facts.socket_names))
        variables["LISTEN_FDNAMES"] = ":".join(facts.socket_names)
    if service.vram_bytes is not None:
        variables["LUCID_VRAM_BYTES"] = str(service.vram_bytes)
    if service.health.kind == "notify":
        watchdog_s = service.health.period_s * service.health.failures
        variables["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
    return variables


def _read_env_file(path: Path) -> dict[str, str]:
    """NAME=value lines; blank lines, comments and a leading `export` are skipped, quotes around a value
    removed.
    """
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            value = value.strip()
            if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
                value = value[1:-1]
            found[name.strip()] = value
    return found
