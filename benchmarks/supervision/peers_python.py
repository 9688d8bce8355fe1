"""supervisord (Debian's package) and circus (PyPI) as systems."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.supervision.systems import Service, System

__all__ = ["Circus", "Supervisord"]

_SUPERVISORD = """\
[supervisord]
pidfile={folder}/supervisord.pid
logfile={folder}/supervisord.log
[unix_http_server]
file={folder}/s.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{folder}/s.sock
"""
_PROGRAM = """\
[{kind}:{name}]
{socket}
command={command}
environment=VALUE="{value}"
numprocs={replicas}
process_name=%(process_num)d
autorestart=true
startsecs=0
stdout_logfile={folder}/{name}.%(process_num)d.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=50
redirect_stderr=true
"""


class Supervisord(System):
    """supervisord; a held socket is its FastCGI program, handed down as descriptor 0."""

    name = "supervisord"

    def version(self) -> str:
        """Its version."""
        return self.run(["/usr/bin/supervisord", "--version"]).strip()

    def start(self, services: Sequence[Service]) -> None:
        """Write supervisord.conf and start it."""
        self.services = tuple(services)
        self._write()
        self.spawn(["/usr/bin/supervisord", "-n", "-c", str(self.folder / "supervisord.conf")])

    def owners(self) -> dict[str, int]:
        """One process."""
        return {"supervisord": int((self.folder / "supervisord.pid").read_text())}

    def end(self) -> None:
        """`shutdown`."""
        self._control("shutdown")

    def status_argv(self) -> list[str]:
        """`supervisorctl status`."""
        return ["/usr/bin/supervisorctl", "-c", str(self.folder / "supervisord.conf"), "status"]

    def restart(self, service: Service) -> None:
        """`restart`."""
        self._control("restart", f"{service.name}:*")

    def change(self, service: Service) -> None:
        """Another value in the file, and `update`."""
        self.value += 1
        self._write()
        self._control("update")

    def log_files(self, service: Service) -> list[Path]:
        """Rotated ones too."""
        return list(self.folder.glob(f"{service.name}.0.log*"))

    def _control(self, *words: str) -> None:
        self.run([*self.status_argv()[:-1], *words])

    def _write(self) -> None:
        text = _SUPERVISORD.format(folder=self.folder)
        for service in self.services:
            is_held = service.port is not None and service.is_held
            argv = ["fd:0" if word == "fd:listen" else word for word in service.argv]
            text += _PROGRAM.format(
                kind="fcgi-program" if is_held else "program",
                socket=f"socket=tcp://127.0.0.1:{service.port}" if is_held else "",
                name=service.name,
                command=_quote(argv),
                value=self.value,
                replicas=service.replicas,
                folder=self.folder,
            )
        (self.folder / "supervisord.conf").write_text(text)


_CIRCUS = """\
[circus]
endpoint = ipc://{folder}/control
pubsub_endpoint = ipc://{folder}/pubsub
check_delay = 1
pidfile = {folder}/circus.pid
"""
_WATCHER = """\
[watcher:{name}]
cmd = {command}
numprocesses = {replicas}
use_sockets = {is_held}
copy_env = True
max_retry = -1
graceful_timeout = 2
stdout_stream.class = FileStream
stdout_stream.filename = {folder}/{name}.log
stdout_stream.max_bytes = 20000000
stdout_stream.backup_count = 50
[env:{name}]
VALUE = {value}
"""
_SOCKET = """\
[socket:{name}]
host = 127.0.0.1
port = {port}
"""


class Circus(System):
    """circusd; sockets are held by it and handed down by number."""

    name = "circus"

    def version(self) -> str:
        """Its version."""
        return self.run([str(self._bin / "circusd"), "--version"]).strip()

    def start(self, services: Sequence[Service]) -> None:
        """Write circus.ini and start circusd."""
        self.services = tuple(services)
        self._write()
        self.spawn([str(self._bin / "circusd"), str(self.folder / "circus.ini")])

    def owners(self) -> dict[str, int]:
        """One process."""
        return {"circusd": int((self.folder / "circus.pid").read_text())}

    def end(self) -> None:
        """`quit`."""
        self._control("quit")

    def status_argv(self) -> list[str]:
        """`circusctl status`."""
        return [str(self._bin / "circusctl"), "--endpoint", f"ipc://{self.folder}/control", "status"]

    def restart(self, service: Service) -> None:
        """`restart`."""
        self._control("restart", service.name, "--waiting")

    def roll(self, service: Service) -> None:
        """`reload`, one process after another."""
        self._control("reload", service.name, "--sequential", "--waiting")

    def change(self, service: Service) -> None:
        """Another value in the file, and `reloadconfig`."""
        self.value += 1
        self._write()
        self._control("reloadconfig", "--waiting")

    def log_files(self, service: Service) -> list[Path]:
        """Rotated ones too."""
        return list(self.folder.glob(f"{service.name}.log*"))

    @property
    def _bin(self) -> Path:
        return self.peers / "circus" / "bin"

    def _control(self, *words: str) -> None:
        self.run([*self.status_argv()[:-1], *words])

    def _write(self) -> None:
        text = _CIRCUS.format(folder=self.folder)
        for service in self.services:
            is_held = service.port is not None and service.is_held
            held = f"fd:$(circus.sockets.{service.name})"
            argv = [held if word == "fd:listen" else word for word in service.argv]
            text += _WATCHER.format(
                name=service.name,
                command=_quote(argv),
                replicas=service.replicas,
                is_held=is_held,
                folder=self.folder,
                value=self.value,
            )
            if is_held:
                text += _SOCKET.format(name=service.name, port=service.port)
        (self.folder / "circus.ini").write_text(text)


def _quote(argv: Sequence[str]) -> str:
    return " ".join(f"'{word}'" if " " in word else word for word in argv)
