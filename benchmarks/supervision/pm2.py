"""pm2 (npm) as a system."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.supervision.systems import Service, System

__all__ = ["Pm2"]

_SERVER = """\
const http = require('http');
const server = http.createServer((_, answer) => answer.end(String(process.pid)));
setTimeout(() => server.listen(Number(process.env.SERVE_PORT), '127.0.0.1', () => process.send('ready')),
           Number(process.env.START_MS));
"""


class Pm2(System):
    """The daemon in a home of its own; a held socket is Node's cluster mode, which needs a Node program."""

    name = "pm2"

    def __init__(self, folder: Path, peers: Path) -> None:
        """As every system."""
        super().__init__(folder, peers)
        self.environ |= {"PM2_HOME": str(folder / "home"), "NO_COLOR": "1"}

    def version(self) -> str:
        """Its version."""
        package = self.peers / "node_modules" / "pm2" / "package.json"
        return str(json.loads(package.read_text())["version"])

    def start(self, services: Sequence[Service]) -> None:
        """Write the ecosystem file and start it."""
        self.services = tuple(services)
        (self.folder / "server.js").write_text(_SERVER)
        self._write()
        self._verb("start", "apps.json")

    def owners(self) -> dict[str, int]:
        """One daemon."""
        return {"pm2": int((self.folder / "home" / "pm2.pid").read_text())}

    def end(self) -> None:
        """`kill`: all programs and the daemon."""
        self._verb("kill")

    def status_argv(self) -> list[str]:
        """`pm2 list`."""
        return [str(self.peers / "node_modules" / ".bin" / "pm2"), "list"]

    def restart(self, service: Service) -> None:
        """`restart`."""
        self._verb("restart", service.name)

    def roll(self, service: Service) -> None:
        """`reload`, one after another in cluster mode."""
        self._verb("reload", service.name)

    def change(self, service: Service) -> None:
        """Another value in the file, and `startOrReload`."""
        self.value += 1
        self._write()
        self._verb("startOrReload", "apps.json", "--update-env")

    def log_files(self, service: Service) -> list[Path]:
        """One file, which is never rotated."""
        return [self.folder / f"{service.name}.log"]

    def _verb(self, *words: str) -> None:
        self.run([*self.status_argv()[:-1], *words])

    def _write(self) -> None:
        apps = [self._describe(service) for service in self.services]
        (self.folder / "apps.json").write_text(json.dumps({"apps": apps}))

    def _describe(self, service: Service) -> dict[str, object]:
        log = str(self.folder / f"{service.name}.log")
        entry: dict[str, object] = {
            "name": service.name,
            "env": {"VALUE": str(self.value)},
            "restart_delay": 0,
            "min_uptime": 0,
            "max_restarts": 1_000_000,
            "out_file": log,
            "error_file": log,
            "combine_logs": True,
        }
        if service.port is not None and service.is_held:
            start_s = float(service.argv[service.argv.index("--start") + 1])
            server = {"SERVE_PORT": str(service.port), "START_MS": str(int(start_s * 1000))}
            return entry | {
                "script": "server.js",
                "exec_mode": "cluster",
                "instances": service.replicas,
                "wait_ready": True,
                "env": {"VALUE": str(self.value), **server},
            }
        program, *words = service.argv
        words = [str(service.port) if word == "fd:listen" else word for word in words]
        return entry | {"script": program, "args": words, "interpreter": "none"}
