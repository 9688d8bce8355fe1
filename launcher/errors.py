"""Everything that can go wrong in the launcher, as one small tree of exceptions.

Decides the stable code, the exit code (launcher.md section 3) and the sentence a person reads for each
failure. Knows nothing of terminals, colours or sockets: a front end prints `render()`, and `to_document()`
and `from_document()` carry an error over the control socket and the start-up report pipe.

    LauncherError                 exit
      ConfigMissing                 2    no config.yaml where we looked
      ConfigExists                  5    `init` would overwrite one
      ConfigInvalid                 2    every problem of the file at once
      PortInUse                     5    every port conflict at once
      AlreadyOwned                  5    another supervisor owns this project
      EnvironmentUnmet              6    several of the next four at once
        GpuMissing                  6
        VramShort                   6
        ModelNotFound               6
        CommandNotFound             6
      NotRunning                    3
      NoSuchService                 4
      TimedOut                    124
      ActionFailed                  1
      SupervisorFailed              1
      RelayedError               as sent, what from_document() returns
"""

from __future__ import annotations

from collections.abc import Sequence

from launcher.error_base import LauncherError, RelayedError, from_document
from launcher.problems import (
    ConfigProblem,
    Holder,
    PortConflict,
    did_you_mean,
    place_line,
    printable,
)

__all__ = [
    "ActionFailed",
    "AlreadyOwned",
    "CommandNotFound",
    "ConfigExists",
    "ConfigInvalid",
    "ConfigMissing",
    "ConfigProblem",
    "EnvironmentUnmet",
    "GpuMissing",
    "Holder",
    "LauncherError",
    "ModelNotFound",
    "NoSuchService",
    "NotRunning",
    "PortConflict",
    "PortInUse",
    "RelayedError",
    "SupervisorFailed",
    "TimedOut",
    "VramShort",
    "did_you_mean",
    "from_document",
    "printable",
]


class ConfigMissing(LauncherError):
    """There is no configuration file in any of the places that were looked at."""

    code = "E_CONFIG_MISSING"
    exit_code = 2
    fields = ("looked_at",)

    def __init__(self, *looked_at: object) -> None:
        super().__init__(*looked_at)
        self.looked_at = tuple(str(path) for path in looked_at)
        self.hint = "name one with  -f PATH , or write one for this machine with  lucid-launch init"

    def __str__(self) -> str:
        if len(self.looked_at) < 2:
            return "there is no configuration file; looked at " + ", ".join(self.looked_at)
        folder, _, name = self.looked_at[0].rpartition("/")
        return f"there is no {name} in {folder or '/'}, nor in a folder above it"


class ConfigExists(LauncherError):
    """A configuration file would be overwritten that nobody asked to overwrite."""

    code = "E_CONFIG_EXISTS"
    exit_code = 5
    fields = ("path",)
    hint = "look at what would be written with  --print , replace the file with  --force"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} is there already, and was left as it is"


class ConfigInvalid(LauncherError):
    """The configuration file has problems; all of them are listed, in the order of the file."""

    code = "E_CONFIG"
    exit_code = 2
    fields = ("problems",)

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        super().__init__(problems)
        self.problems = tuple(sorted(set(problems)))

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)

    def render(self) -> str:
        """Each problem with its source line and caret, then how many there were."""
        count = len(self.problems)
        counted = f"{count} error{'' if count == 1 else 's'}"
        total = f"error[{self.code}]: {counted}; nothing was started or changed."
        return "\n".join([*(problem.render() for problem in self.problems), total])


class PortInUse(LauncherError):
    """One or more services cannot have their port; every conflict is named."""

    code = "E_PORT_IN_USE"
    exit_code = 5
    fields = ("conflicts",)

    def __init__(self, conflicts: Sequence[PortConflict]) -> None:
        super().__init__(conflicts)
        self.conflicts = tuple(conflicts)

    def __str__(self) -> str:
        return "\n".join(conflict.render() for conflict in self.conflicts)

    def render(self) -> str:
        """One block for each conflict, each with its own mend."""
        return "\n".join(f"error[{self.code}]: {conflict.render()}" for conflict in self.conflicts)


class AlreadyOwned(LauncherError):
    """Another supervisor already owns this project."""

    code = "E_RUNNING"
    exit_code = 5
    fields = ("project", "owner_pid")

    def __init__(self, project: str, owner_pid: int | None) -> None:
        super().__init__(project, owner_pid)
        self.project = project
        self.owner_pid = owner_pid
        self.hint = "see it with  lucid-launch status , stop it with  lucid-launch down"

    def __str__(self) -> str:
        owner = "" if self.owner_pid is None else f" (pid {self.owner_pid})"
        return f"another supervisor{owner} already runs {self.project}"


class _Unmet(LauncherError):
    """Base of what this machine lacks: who needs it, what is wrong, where the file asks for it."""

    code = "E_ENVIRONMENT"
    exit_code = 6
    fields = ("service", "reason", "where")

    def __init__(
        self,
        service: str,
        reason: str,
        *,
        where: str | None = None,
        source: str = "",
        hint: str | None = None,
    ) -> None:
        super().__init__(service, reason)
        self.service = service
        self.reason = reason
        self.where = where
        self.source = source
        self.hint = hint

    def __str__(self) -> str:
        place = f"\n{place_line(self.where, self.source)}" if self.where else ""
        return f"{self.service}: {self.reason}{place}"


class GpuMissing(_Unmet):
    """A GPU that the file names does not exist here, or no driver answers."""

    code = "E_GPU_MISSING"


class VramShort(_Unmet):
    """A GPU has less free memory than the services placed on it may use."""

    code = "E_VRAM_SHORT"


class ModelNotFound(_Unmet):
    """A model is in none of the places that are searched without a network."""

    code = "E_MODEL_NOT_FOUND"


class CommandNotFound(_Unmet):
    """The program of a service does not exist or cannot be executed."""

    code = "E_COMMAND_NOT_FOUND"


class EnvironmentUnmet(LauncherError):
    """Several things this machine lacks, all named at once."""

    code = "E_ENVIRONMENT"
    exit_code = 6
    fields = ("errors",)

    def __init__(self, errors: Sequence[LauncherError]) -> None:
        super().__init__(errors)
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)

    def render(self) -> str:
        """Each error in full."""
        return "\n".join(error.render() for error in self.errors)


class NotRunning(LauncherError):
    """No supervisor runs for this configuration file."""

    code = "E_NOT_RUNNING"
    exit_code = 3
    fields = ("config",)

    def __init__(self, config: str) -> None:
        super().__init__(config)
        self.config = config
        self.hint = "start it with  lucid-launch up"

    def __str__(self) -> str:
        return f"nothing runs for {self.config}"


class NoSuchService(LauncherError):
    """A service was named that the file does not have."""

    code = "E_NO_SUCH_SERVICE"
    exit_code = 4
    fields = ("service", "known", "did_you_mean")

    def __init__(self, service: str, known: Sequence[str]) -> None:
        super().__init__(service, known)
        self.service = service
        self.known = tuple(known)
        self.did_you_mean = did_you_mean(service, self.known)
        self.hint = "services here: " + (", ".join(self.known) or "none")

    def __str__(self) -> str:
        guess = "" if self.did_you_mean is None else f"; did you mean '{self.did_you_mean}'?"
        return f"there is no service '{printable(self.service)}'{guess}"


class _Plain(LauncherError):
    """Base of the errors that are one sentence and one mend."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class TimedOut(_Plain):
    """What was asked for did not happen within the time given."""

    code = "E_TIMEOUT"
    exit_code = 124


class ActionFailed(_Plain):
    """The action was tried and failed."""

    code = "E_ACTION_FAILED"


class SupervisorFailed(_Plain):
    """The supervisor did not come up, or ended while it was being talked to."""

    code = "E_SUPERVISOR"
