"""Whether what a service names is on this machine: its program, folder, environment file, user
and processors.

Looks only; starts nothing. Decides which of it is the file's mistake (a problem with a place) and which is
the machine's (a program that is not installed).
"""

import os
import pwd
import shutil
from collections.abc import Iterator, Mapping

from launcher.config import Config, locate_problem
from launcher.configuration.models import Service
from launcher.errors import CommandNotFound, ConfigProblem
from launcher.problems import did_you_mean

__all__ = ["find_missing_program", "find_path_problems"]


def find_path_problems(config: Config, service: Service) -> Iterator[ConfigProblem]:
    """A folder or file that is not there, and a user that does not exist or that we may not become."""
    key = f"services.{service.name}"
    if not service.cwd.is_dir():
        yield locate_problem(config, f"{key}.cwd", f"there is no folder {service.cwd}")
    elif not os.access(service.cwd, os.X_OK):
        yield locate_problem(config, f"{key}.cwd", f"the folder {service.cwd} may not be entered")
    if service.env_file is not None:
        yield from _env_file_problems(config, f"{key}.env_file", service)
    if service.user is not None:
        text = _why_not_user(service.user)
        if text is not None:
            yield locate_problem(config, f"{key}.user", text)
    if isinstance(service.cpus, tuple) and not _processors() & set(service.cpus):
        text = f"none of these processors is here; this machine has {_listed(_processors())}"
        yield locate_problem(config, f"{key}.cpus", text)


def _env_file_problems(config: Config, key: str, service: Service) -> Iterator[ConfigProblem]:
    assert service.env_file is not None
    try:
        service.env_file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        yield locate_problem(config, key, f"{service.env_file} is not UTF-8 text")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        yield locate_problem(config, key, f"{service.env_file} cannot be read: {reason}")


def _why_not_user(user: str) -> str | None:
    try:
        uid = int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except KeyError:
        return f"there is no user '{user}' here"
    if os.geteuid() not in (0, uid):
        return f"only root can run a service as '{user}'; this launcher runs as uid {os.geteuid()}"
    return None


def find_missing_program(
    config: Config, service: Service, environ: Mapping[str, str]
) -> CommandNotFound | None:
    """The error when the service's program does not exist or is not executable; None when it is fine.

    A program with a slash is looked up from the service's folder, any other on the service's PATH.
    """
    program = service.command[0] if service.command else None
    if program is None or "${" in program:
        return None
    path = service.env.get("PATH", environ.get("PATH", os.defpath))
    target = str(service.cwd / program) if "/" in program else program
    if shutil.which(target, path=path) is not None:
        return None
    key = f"services.{service.name}.command"
    return CommandNotFound(
        service.name,
        _why_not_found(program, target),
        where=config.mark(key),
        source=config.source(key),
        hint=_mend(program, path),
    )


def _processors() -> set[int]:
    """Those that there are, and those that this process may use: a container numbers them as its host."""
    return {*range(os.cpu_count() or 1), *os.sched_getaffinity(0)}


def _listed(processors: set[int]) -> str:
    """`0-3,8`, as `cpus` is written."""
    runs: list[list[int]] = []
    for number in sorted(processors):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _why_not_found(program: str, target: str) -> str:
    if "/" not in program:
        return f"the program '{program}' is not on PATH"
    if os.path.isdir(target):
        return f"'{target}' is a folder, not a program"
    if os.path.exists(target):
        return f"'{target}' is not executable"
    return f"there is no program '{target}'"


def _mend(program: str, path: str) -> str:
    if "/" in program:
        return "correct the path (it is relative to the service's folder), or make it executable: chmod +x"
    guess = did_you_mean(program, _programs_on(path))
    return f"did you mean '{guess}'?" if guess else "install it, or write its full path"


def _programs_on(path: str) -> tuple[str, ...]:
    found: set[str] = set()
    for folder in path.split(os.pathsep):
        if os.path.isdir(folder) and os.access(folder, os.R_OK):
            found.update(os.listdir(folder))
    return tuple(sorted(found))
