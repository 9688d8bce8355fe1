"""What `doctor` looks at on this machine, whatever the configuration says.

Each check answers ok, warn or FAIL with what it found and, unless ok, the mend. Looks only. torch and
sentence-transformers are found, never imported: that would take seconds.
"""

import importlib.util
import os
import platform
import resource
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from launcher.configuration.units import format_size
from launcher.errors import LauncherError
from launcher.gpus import GpuReport
from launcher.runtime_dir import runtime_dir
from launcher.sockets import has_ipv6_loopback

__all__ = ["Check", "Status", "check_machine"]

Status = Literal["ok", "warn", "FAIL"]

OLDEST_PYTHON = (3, 11)
OLDEST_SQLITE = (3, 51, 3)
FEWEST_FILES = 1024
WANTED_FILES = 4096
LEAST_DISK_BYTES = 200_000_000
WANTED_DISK_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, how it stands, what was found, and what to do about it."""

    name: str
    status: Status
    detail: str
    mend: str | None = None


def check_machine(config_path: Path, report: GpuReport) -> Iterator[Check]:
    """Every check that needs no configuration; `config_path` only says which folders are meant."""
    yield _python()
    yield _torch(report)
    yield _package("sentence-transformers", "sentence_transformers")
    yield _sqlite()
    yield _gpus(report)
    yield from (_folder(name, config_path.parent / name) for name in ("logs", "data"))
    yield _runtime_folder(config_path)
    yield _disk(config_path.parent)
    yield _open_files()
    yield _ipv6()
    yield _parent_death()
    yield _pidfd()


def _python() -> Check:
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return Check("python", "ok", found)
    return Check(
        "python", "FAIL", f"{found} is too old", "install Python 3.11 or newer and install lucid-launch there"
    )


def _package(name: str, module: str) -> Check:
    if importlib.util.find_spec(module) is None:
        return Check(
            name, "FAIL", "is not installed for this Python", f"{sys.executable} -m pip install {name}"
        )
    try:
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        return Check(name, "warn", "is there, but its version is not known", f"install it with pip: {name}")


def _torch(report: GpuReport) -> Check:
    check = _package("torch", "torch")
    if check.status == "ok" and report.gpus and "+cpu" in check.detail:
        mend = "install a CUDA build of torch: see https://pytorch.org/get-started/locally"
        return Check("torch", "warn", f"{check.detail} cannot use the GPU of this machine", mend)
    return check


def _sqlite() -> Check:
    if importlib.util.find_spec("apsw") is None:
        return Check("sqlite", "FAIL", "apsw is not installed", f"{sys.executable} -m pip install apsw")
    import apsw

    found = apsw.sqlite_lib_version()
    if tuple(int(part) for part in found.split(".")[:3]) >= OLDEST_SQLITE:
        return Check("sqlite", "ok", f"{found} (apsw)")
    oldest = ".".join(map(str, OLDEST_SQLITE))
    return Check(
        "sqlite", "warn", f"{found} is older than {oldest}", f"{sys.executable} -m pip install -U apsw"
    )


def _gpus(report: GpuReport) -> Check:
    if report.gpus:
        listed = "; ".join(str(gpu) for gpu in report.gpus)
        detail = f"driver {report.driver_version}: {listed}"
        if report.problem is None:
            return Check("gpu", "ok", detail)
        return Check("gpu", "warn", f"{detail}; {report.problem}", "see  nvidia-smi  and the kernel's log")
    why = report.problem or "the driver finds no GPU"
    detail = f"{why}; services with 'gpu: auto' run on the CPU, many times slower"
    mend = "with a GPU in this machine: install its driver, or start the container with GPUs (--gpus all)"
    return Check("gpu", "warn", detail, mend)


def _folder(name: str, folder: Path) -> Check:
    nearest = next((place for place in (folder, *folder.parents) if place.exists()), Path("/"))
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return Check(name, "ok", str(folder))
    return Check(
        name, "FAIL", f"{folder} cannot be written", f"make {nearest} a folder that you may write to"
    )


def _runtime_folder(config_path: Path) -> Check:
    try:
        folder = runtime_dir(config_path)
    except (LauncherError, OSError) as error:
        return Check(
            "runtime folder", "FAIL", str(error), "set XDG_RUNTIME_DIR to a folder that is yours alone"
        )
    check = _folder("runtime folder", folder)
    if check.status == "ok":
        return check
    return Check(check.name, "FAIL", check.detail, "set XDG_RUNTIME_DIR to a folder that is yours alone")


def _disk(folder: Path) -> Check:
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(nearest).free
    detail = f"{format_size(free)} free at {nearest}"
    if free >= WANTED_DISK_BYTES:
        return Check("disk", "ok", detail)
    status: Status = "warn" if free >= LEAST_DISK_BYTES else "FAIL"
    return Check("disk", status, detail, "free some space: the memory store and the logs need it")


def _open_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= WANTED_FILES:
        return Check("open files", "ok", "unlimited" if soft == resource.RLIM_INFINITY else str(soft))
    status: Status = "warn" if soft >= FEWEST_FILES else "FAIL"
    room = "" if hard == resource.RLIM_INFINITY else f" (at most {hard} without root)"
    return Check(
        "open files", status, f"{soft}, which many clients can use up", f"ulimit -n {WANTED_FILES}{room}"
    )


def _ipv6() -> Check:
    if has_ipv6_loopback():
        return Check("ipv6 loopback", "ok", "::1")
    mend = "nothing to do, unless a client insists on ::1"
    return Check("ipv6 loopback", "warn", "::1 is not available; localhost is 127.0.0.1 only", mend)


def _parent_death() -> Check:
    """Children that end with their parent need prctl(2), which only Linux has."""
    if sys.platform != "linux":
        mend = "run on Linux, or stop services with  lucid-launch down  before ending the launcher"
        return Check("parent death", "warn", "children may outlive a killed launcher here", mend)
    setpriv = shutil.which("setpriv")
    return Check("parent death", "ok", "prctl" if setpriv is None else f"prctl, {setpriv}")


def _pidfd() -> Check:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError) as error:
        mend = "use Linux 5.3 or newer, and let the sandbox pass pidfd_open"
        return Check("pidfd", "FAIL", f"process handles are not available: {error}", mend)
    return Check("pidfd", "ok", f"Linux {platform.release()}")
