"""This launcher as one of the systems."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.supervision.systems import Service, System
from launcher import __version__
from launcher.control_client import fetch_status
from launcher.errors import NotRunning, SupervisorFailed

__all__ = ["Ours"]


class Ours(System):
    """`lucid-launch`, through its command line."""

    name = "lucid-launch"

    def __init__(self, folder: Path, peers: Path) -> None:
        """As every system."""
        super().__init__(folder, peers)
        (folder / "run").mkdir(mode=0o700)
        self.environ |= {"XDG_RUNTIME_DIR": str(folder / "run"), "NO_COLOR": "1"}

    def version(self) -> str:
        """The version of this checkout."""
        return __version__

    def start(self, services: Sequence[Service]) -> None:
        """Write config.yaml and bring the stack up."""
        self.services = tuple(services)
        self._write()
        self.verb("up", "-d", "--wait")

    def owners(self) -> dict[str, int]:
        """Supervisor, guardian and sentinel."""
        supervisor = self.status()["supervisor"]
        owners = {"supervisor": supervisor["pid"], "guardian": supervisor["guardian_pid"]}
        for process in psutil.Process(owners["guardian"]).children():
            if "lucid-sentinel" in process.cmdline():
                owners["sentinel"] = process.pid
        return owners

    def status(self) -> dict[str, Any]:
        """The status document, read in this process."""
        # The client's functions find the socket by the environment.
        os.environ["XDG_RUNTIME_DIR"] = self.environ["XDG_RUNTIME_DIR"]
        return fetch_status(self.folder / "config.yaml")

    def status_or_none(self) -> dict[str, Any] | None:
        """The status document, or None while no supervisor answers."""
        try:
            return self.status()
        except (NotRunning, SupervisorFailed, OSError):
            return None

    def end(self) -> None:
        """`down`."""
        self.verb("down")

    def status_argv(self) -> list[str]:
        """`status`."""
        return [sys.executable, "-m", "launcher", "status"]

    def verb(self, *words: str) -> str:
        """Run one verb to its end."""
        return self.run([sys.executable, "-m", "launcher", *words])

    def restart(self, service: Service) -> None:
        """`restart --wait`."""
        self.verb("restart", service.name, "--wait")

    def roll(self, service: Service) -> None:
        """The same: with replicas a restart is rolling."""
        self.restart(service)

    def change(self, service: Service) -> None:
        """Another value in the file, and `up`."""
        self.value += 1
        self._write()
        self.verb("up", "-d", "--wait")

    def log_files(self, service: Service) -> list[Path]:
        """Rotated ones too."""
        return list((self.folder / "logs").glob(f"{service.name}.log*"))

    def _write(self) -> None:
        defaults = {
            "host": "127.0.0.1",
            "gpu": "none",
            "restart": {
                "policy": "always",
                "backoff": {"initial": "0s", "max": "0s", "jitter": 0},
                "max_failures": 1_000_000,
            },
            "logs": {"max_size": "20MB", "backups": 50},
            "stop": {"grace": "2s"},
        }
        services = {service.name: self._describe(service) for service in self.services}
        document = {"project": "benchmark", "defaults": defaults, "services": services}
        # JSON is YAML, and needs no decision about quotes.
        (self.folder / "config.yaml").write_text(json.dumps(document, indent=1))

    def _describe(self, service: Service) -> dict[str, Any]:
        entry: dict[str, Any] = {"command": list(service.argv), "env": {"VALUE": str(self.value)}}
        if service.port is not None:
            ports = service.port if service.replicas == 1 else f"{service.port}-{service.port + 9}"
            entry |= {"port": ports, "inherit_sockets": service.is_held, "replicas": service.replicas}
        if service.is_probed:
            entry["health"] = {"http": "/", "period": "1s"}
        if service.finds_hangs:
            entry["health"] = {"http": "/", "period": "100ms", "timeout": "300ms", "failures": 2}
            entry["stop"] = {"grace": "100ms"}
        return entry
