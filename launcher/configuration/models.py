"""The frozen models of config.yaml: every key, its meaning, its unit and its default (launcher.md section 2).

Pure. Decides which keys there are. What one value may be is `config_values`; what may stand *together* is
`config_checks`; where a value stood in the file is `yaml_marks`; reading the file is `config`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, WithJsonSchema
from pydantic_core import PydanticCustomError

from launcher.configuration.needs import child_names
from launcher.configuration.values import (
    Argv,
    AutoGpu,
    AutoPort,
    Cpus,
    Duration,
    FixedPort,
    Gpu,
    GpuValue,
    HttpPath,
    NamedGpus,
    NoGpu,
    Port,
    PortRange,
    PortValue,
    SignalName,
    Size,
    Text,
)

__all__ = [
    "HEALTH_KINDS",
    "SERVICE_NAME",
    "AutoGpu",
    "AutoPort",
    "Backoff",
    "Canary",
    "Dependency",
    "FixedPort",
    "Gpu",
    "Health",
    "HealthKind",
    "Limits",
    "Logs",
    "NamedGpus",
    "NoGpu",
    "Port",
    "PortRange",
    "Restart",
    "Service",
    "ServiceKeys",
    "Stop",
    "child_names",
]

SERVICE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}", re.ASCII)
HealthKind = Literal["websocket", "http", "tcp", "exec", "notify"]
HEALTH_KINDS: tuple[HealthKind, ...] = ("websocket", "http", "tcp", "exec", "notify")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OWN_ENV = re.compile(
    r"PORT|HOST|NOTIFY_SOCKET|LISTEN_(?:FDS|PID|FDNAMES)|LUCID_.*|CUDA_VISIBLE_DEVICES|CUDA_DEVICE_ORDER"
)


def _env(value: dict[str, str]) -> dict[str, str]:
    for name in value:
        if not _ENV_NAME.fullmatch(name):
            raise PydanticCustomError("lucid", "'{name}' cannot be the name of a variable", {"name": name})
        if _OWN_ENV.fullmatch(name):
            mend = "; use the key 'gpu'" if name.startswith("CUDA_") else ""
            raise PydanticCustomError(
                "lucid", "{name} is set by the launcher itself{mend}", {"name": name, "mend": mend}
            )
    return value


def _restart(value: object) -> object:
    """`restart: never` is short for `restart: {policy: never}`."""
    return {"policy": value} if isinstance(value, str) else value


def _dependency(value: object) -> object:
    """`memory: ready` is short for `memory: {condition: ready}`."""
    return {"condition": value} if isinstance(value, str) else value


def _policy(value: object) -> object:
    """`no` is the word other supervisors use for `never`."""
    return "never" if value == "no" else value


class _Model(BaseModel):
    """Base of all models: frozen, unknown keys refused; YAML names are aliases of our unit-suffixed names."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)


class Backoff(_Model):
    """How long to wait before a restart: from `initial` up to `max`, by `factor`, spread by `jitter`."""

    initial_s: Duration = Field(0.5, alias="initial", description="The first delay.")
    max_s: Duration = Field(30.0, alias="max", description="The longest delay; at least the first.")
    factor: float = Field(2.0, ge=1, le=100, description="Each delay is this many times the one before.")
    jitter: float = Field(
        0.2, ge=0, le=1, description="Random share added or taken off, so that restarts do not fall together."
    )


class Restart(_Model):
    """When a child that ended is started again."""

    policy: Annotated[
        Literal["on-failure", "always", "never"],
        BeforeValidator(_policy),
        WithJsonSchema({"enum": ["on-failure", "always", "never", "no"]}),
    ] = Field("on-failure", description="on-failure, always, or never.")
    backoff: Backoff = Field(default_factory=Backoff, description="The delay before each restart.")
    max_failures: int = Field(5, ge=1, le=1_000_000, description="Give up after this many failures in a row.")
    stable_after_s: Duration = Field(
        60.0, alias="stable_after", description="So long in ready, and the failures before are forgotten."
    )


class Stop(_Model):
    """How a child is asked to end, and how long it has before it is killed."""

    signal: SignalName = Field("TERM", description="The signal that asks the process group to end.")
    grace_s: Duration = Field(10.0, alias="grace", description="From that signal to SIGKILL.")


class Logs(_Model):
    """How much output of each child is kept."""

    max_size_bytes: Size = Field(
        10_000_000, alias="max_size", ge=1, description="Rotate a file at this size."
    )
    backups: int = Field(5, ge=0, le=1000, description="Rotated files kept per child.")


class Limits(_Model):
    """What a child may use; over it, the child is drained and restarted."""

    memory_bytes: Size | None = Field(None, alias="memory", description="Resident memory.")
    vram_bytes: Size | None = Field(None, alias="vram", description="GPU memory.")
    open_files: int | None = Field(None, ge=16, le=1_073_741_824, description="Open file descriptors.")


class Canary(_Model):
    """A real, tiny request, asked from time to time beside the probe; it fails when it is refused or late."""

    type: str = Field(min_length=1, max_length=64, description="The request's type.")
    data: Mapping[str, Any] = Field(default_factory=dict, description="The request's data.")
    period_s: Duration = Field(10.0, alias="period", ge=0.01, description="From one canary to the next.")
    timeout_s: Duration = Field(2.0, alias="timeout", ge=0.01, description="The canary's latency budget.")


class Health(_Model):
    """How a child is asked whether it works: one kind of probe, and when its answers count.

    `kind` is None when the service has no probe: it then counts as ready once it has lived for `min_uptime`.
    """

    websocket: str | None = Field(None, min_length=1, max_length=64, description="Send this request type.")
    http: HttpPath | None = Field(
        None, description="GET this path on the service's port; 200 to 299 is healthy."
    )
    tcp: StrictBool = Field(False, description="A connection that is accepted is healthy.")
    exec: Argv | None = Field(None, description="Run this program; exit 0 is healthy.")
    notify: StrictBool = Field(False, description="Wait for READY=1 on NOTIFY_SOCKET (sd_notify).")
    period_s: Duration = Field(2.0, alias="period", ge=0.01, description="From one probe to the next.")
    timeout_s: Duration = Field(2.0, alias="timeout", ge=0.01, description="The longest wait for an answer.")
    failures: int = Field(3, ge=1, le=1000, description="Unhealthy after this many failures in a row.")
    startup_budget_s: Duration = Field(
        120.0, alias="startup_budget", ge=0.01, description="The longest start without any progress."
    )
    min_uptime_s: Duration = Field(
        1.0, alias="min_uptime", ge=0, description="Without a probe: ready after having lived for so long."
    )
    canary: Canary | None = Field(
        None, description="A real request that must succeed, for a child whose checks are green but dead."
    )

    @property
    def kind(self) -> HealthKind | None:
        """Which probe is asked for; None for none."""
        return next((kind for kind in HEALTH_KINDS if getattr(self, kind)), None)

    @property
    def path(self) -> str | None:
        """The path of an HTTP probe."""
        return self.http

    @property
    def argv(self) -> tuple[str, ...] | None:
        """The program of an exec probe; `${PORT}` and kin are still to be replaced."""
        return self.exec


class Dependency(_Model):
    """What a service needs of another before it starts, and whether it starts anew with it."""

    condition: Literal["started", "ready"] = Field(description="started, or ready.")
    restart: StrictBool = Field(False, description="Restart this one too when the other has been restarted.")


class ServiceKeys(_Model):
    """What may stand under a service, and under `defaults`."""

    server: Literal["memory", "inference"] | None = Field(None, description="A built-in server.")
    command: Argv | None = Field(
        None, description="Any program and its arguments; ${PORT}, ${HOST}, LUCID_… are filled in per child."
    )
    port: PortValue | None = Field(
        None,
        description="A number, a range (the first free one), or auto. Built-in servers: 5000, 5005-5014.",
    )
    port_mode: Literal["each", "shared"] = Field(
        "each", description="Replicas have a port each, or share one, on which whoever is free answers."
    )
    host: str = Field(
        "localhost",
        min_length=1,
        max_length=253,
        pattern=r"^[0-9A-Za-z:._-]+$",
        description="The address to listen on; localhost is both 127.0.0.1 and ::1.",
    )
    inherit_sockets: StrictBool | None = Field(
        None, description="Whether the launcher listens and hands the socket down. Default: built-in servers."
    )
    while_starting: Literal["wait", "answer"] = Field(
        "wait",
        description="What clients get while no process listens: they wait, or 503 with the time to retry.",
    )
    gpu: GpuValue = Field(
        default_factory=AutoGpu, description="auto, none, an index, a GPU-… or MIG-… identifier, or a list."
    )
    vram_bytes: Size | None = Field(
        None,
        alias="vram",
        description="GPU memory of each child: checked before the spawn, capped in the child.",
    )
    replicas: int = Field(1, ge=1, le=1024, description="How many processes.")
    env: Annotated[dict[str, Text], AfterValidator(_env)] = Field(
        default_factory=dict,
        description="Environment variables of the child; ${PORT} and kin as in `command`.",
    )
    env_file: Path | None = Field(None, description="A file of NAME=value lines; `env` wins over it.")
    cwd: Path | None = Field(None, description="The working directory. Default: the folder of config.yaml.")
    user: Text | None = Field(None, description="Run as this user (needs root).")
    depends_on: dict[str, Annotated[Dependency, BeforeValidator(_dependency)]] = Field(
        default_factory=dict, description="Services that must be started, or ready, first."
    )
    health: Health = Field(default_factory=Health, description="How to ask whether it works.")
    restart: Annotated[Restart, BeforeValidator(_restart)] = Field(
        default_factory=Restart, description="When to start it again."
    )
    stop: Stop = Field(default_factory=Stop, description="How to end it.")
    logs: Logs = Field(default_factory=Logs, description="How much output to keep.")
    limits: Limits = Field(default_factory=Limits, description="What it may use.")
    cpus: Cpus | None = Field(
        None, description="A number of threads, or the processors to run on: [0, 1] or 0-3,8."
    )
    enabled: StrictBool = Field(True, description="false: known, but neither started nor checked.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="A built-in server's own settings; that server checks them."
    )


class Service(ServiceKeys):
    """One service, resolved: defaults merged in, paths absolute, what depends on the server filled in.

    Exactly one of `server` and `command` is set.
    """

    name: str
    inherit_sockets: StrictBool = False
    cwd: Path = Path()

    @property
    def shares_port(self) -> bool:
        """Whether all its replicas serve one port, whose socket the launcher holds."""
        return self.port_mode == "shared" and self.inherit_sockets and self.port is not None

    @property
    def conditions(self) -> dict[str, Literal["started", "ready"]]:
        """What must be true of each service that this one depends on, by its name."""
        return {name: needed.condition for name, needed in self.depends_on.items()}

    @property
    def restarts_with(self) -> frozenset[str]:
        """The services whose restart restarts this one."""
        return frozenset(name for name, needed in self.depends_on.items() if needed.restart)
