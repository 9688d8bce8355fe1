"""runit and s6 (Debian's packages) as systems; a folder for each service, a scanner above them."""

from __future__ import annotations

import shlex
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.supervision.systems import Service, System

__all__ = ["S6", "Runit"]


class _Scanned(System):
    """A scanner that starts a supervisor for each folder; neither holds sockets nor probes."""

    scanner: str
    logger: tuple[str, ...]

    def start(self, services: Sequence[Service]) -> None:
        """Write the folders and start the scanner."""
        self.services = tuple(services)
        for service in services:
            folder = self.folder / "scan" / service.name
            command = shlex.join(str(service.port) if word == "fd:listen" else word for word in service.argv)
            _script(folder / "run", f"exec {command} 2>&1")
            logs = self.folder / "logs" / service.name
            logs.mkdir(parents=True)
            _script(folder / "log" / "run", f"exec {shlex.join([*self.logger, str(logs)])}")
        self.prepare()
        self._scanner_pid = self.spawn([self.scanner, str(self.folder / "scan")])

    def prepare(self) -> None:
        """What the logger needs beside the folders."""

    def owners(self) -> dict[str, int]:
        """The scanner, and the supervisors and loggers under it."""
        owners = {self.scanner: self._scanner_pid}
        for process in psutil.Process(self._scanner_pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                name = process.name()
                if name in ("runsv", "s6-supervise", self.logger[0]):
                    owners[f"{name} {process.pid}"] = process.pid
        return owners

    def log_files(self, service: Service) -> list[Path]:
        """Everything in the folder but the logger's own files."""
        folder = self.folder / "logs" / service.name
        return [path for path in folder.iterdir() if path.name == "current" or path.name.startswith("@")]

    def service_folder(self, service: Service) -> str:
        """Where the supervisor of the service works."""
        return str(self.folder / "scan" / service.name)

    @abstractmethod
    def restart(self, service: Service) -> None:
        """Its restart verb."""


class Runit(_Scanned):
    """runsvdir, runsv and svlogd."""

    name = "runit"
    scanner = "runsvdir"
    logger = ("svlogd",)

    def version(self) -> str:
        """The version of the package."""
        return self.run(["dpkg-query", "-W", "-f", "${Version}", "runit"])

    def prepare(self) -> None:
        """Sizes and numbers of log files."""
        for service in self.services:
            (self.folder / "logs" / service.name / "config").write_text("s20000000\nn50\n")

    def end(self) -> None:
        """SIGHUP takes everything down in order."""
        psutil.Process(self._scanner_pid).send_signal(1)

    def status_argv(self) -> list[str]:
        """`sv status`."""
        return ["sv", "status", *(self.service_folder(service) for service in self.services)]

    def restart(self, service: Service) -> None:
        """`sv restart`."""
        self.run(["sv", "restart", self.service_folder(service)])


class S6(_Scanned):
    """s6-svscan, s6-supervise and s6-log."""

    name = "s6"
    scanner = "s6-svscan"
    logger = ("s6-log", "n50", "s20000000")

    def version(self) -> str:
        """The version of the package."""
        return self.run(["dpkg-query", "-W", "-f", "${Version}", "s6"])

    def end(self) -> None:
        """Take everything down in order."""
        self.run(["s6-svscanctl", "-t", str(self.folder / "scan")])

    def status_argv(self) -> list[str]:
        """`s6-svstat` of each; a shell, as it takes one folder."""
        each = "; ".join(f"s6-svstat {self.service_folder(service)}" for service in self.services)
        return ["sh", "-c", each]

    def restart(self, service: Service) -> None:
        """`s6-svc -r`, waiting until it is up again."""
        self.run(["s6-svc", "-wr", "-r", self.service_folder(service)])


def _script(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
