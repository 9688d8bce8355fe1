"""The shapes of what the verbs print with `--json`, one type for each schema; the status document is
`snapshot`'s.

Data shapes only. The JSON Schemas under docs/reference/schemas are made from these types. Keys are only ever
added;
what is unknown is null.
"""

from typing import Any, Literal, TypedDict

__all__ = [
    "ActionReport",
    "CallReport",
    "CheckReport",
    "ConfigReport",
    "DoctorReport",
    "ErrorReport",
    "InitReport",
    "LogRecord",
    "PlanReport",
    "ReloadReport",
    "SelftestReport",
    "UpReport",
]


class Change(TypedDict):
    """What is (or would be) done with one service, and why."""

    service: str
    action: Literal["start", "restart", "stop", "update", "keep"]
    reason: str


class Place(TypedDict):
    """How a service stands and where it is reached."""

    state: str
    port: int | None
    url: str | None


class ActionReport(TypedDict):
    """start, stop, restart, scale, wait, down: `done` is false when it was accepted and goes on by itself."""

    schema: Literal["lucid.action/1"]
    action: str
    services: list[str]
    done: bool


class UpReport(TypedDict):
    """up: whether this call started the supervisor, and what it changed; `waited`: all services are ready."""

    schema: Literal["lucid.up/1"]
    started: bool
    waited: bool
    actions: list[Change]
    notes: list[str]
    services: dict[str, Place]


class SupervisorIdentity(TypedDict):
    """One supervisor process."""

    pid: int
    version: str


class Replacement(TypedDict):
    """How one supervisor took over from another: `took_s` is how long none answered, `children` how many
    processes went on untouched.
    """

    before: SupervisorIdentity
    after: SupervisorIdentity
    took_s: float
    children: int


class ReloadReport(TypedDict):
    """reload: what was changed to follow the file; with --self, `replaced` instead."""

    schema: Literal["lucid.reload/1"]
    replaced: Replacement | None
    actions: list[Change]
    notes: list[str]


class PlannedChild(TypedDict):
    """Where one child would run, or runs already."""

    service: str
    child: str
    port: int | None
    url: str | None
    device: str | None
    gpus: list[str]
    fallback_port: bool


class PlanReport(TypedDict):
    """plan, and up --dry-run."""

    schema: Literal["lucid.plan/1"]
    project: str
    running: bool
    changes: bool
    actions: list[Change]
    children: list[PlannedChild]
    notes: list[str]


class Finding(TypedDict):
    """One thing that doctor looked at, and the mend where one is needed."""

    name: str
    status: Literal["ok", "warn", "FAIL"]
    detail: str
    mend: str | None


class DoctorReport(TypedDict):
    """doctor: `ok` is false when any check is FAIL."""

    schema: Literal["lucid.doctor/1"]
    ok: bool
    checks: list[Finding]


class Spread(TypedDict):
    """How the times of many calls are spread, in milliseconds."""

    min: float
    mean: float
    p50: float
    p90: float
    p99: float
    max: float


class CallReport(TypedDict):
    """call --count: `errors` counts refusals by code; `timing_ms` is what these calls were spent on, empty
    when the server does not tell; `server_ms` is the server's own last minute, calls of others included.
    """

    schema: Literal["lucid.call/1"]
    service: str
    type: str
    count: int
    errors: dict[str, int]
    elapsed_s: float
    per_second: float | None
    connect_ms: float
    reply_ms: Spread
    timing_ms: dict[str, Spread]
    server_ms: dict[str, dict[str, float] | None]


class SelftestCheck(TypedDict):
    """One check of one service; `ms` is how long it took."""

    service: str
    check: str
    ok: bool
    ms: float
    detail: str


class SelftestReport(TypedDict):
    """selftest."""

    schema: Literal["lucid.selftest/1"]
    ok: bool
    checks: list[SelftestCheck]


class CheckReport(TypedDict):
    """config check; mistakes are an error document."""

    schema: Literal["lucid.check/1"]
    ok: Literal[True]
    path: str
    services: list[str]


class ConfigReport(TypedDict):
    """config show: the resolved file, and where each value came from, by its dotted key."""

    schema: Literal["lucid.config/1"]
    project: str
    path: str
    services: dict[str, dict[str, Any]]
    origins: dict[str, str]


class InitFinding(TypedDict):
    """One thing that init found, and what it chose because of it."""

    name: str
    status: Literal["ok", "warn"]
    detail: str
    choice: str | None


class InitReport(TypedDict):
    """init: the text of the file, and whether it was written."""

    schema: Literal["lucid.init/1"]
    path: str
    written: bool
    findings: list[InitFinding]
    config: str


class LogRecord(TypedDict):
    """A line of `logs -o json`; `at` is null where the time is not known."""

    at: str | None
    child: str
    stream: Literal["stdout", "stderr", "lucid"]
    level: Literal["debug", "info", "warning", "error"]
    text: str
    continued: bool


class ErrorReport(TypedDict):
    """Any verb that failed: the code and exit code are stable, `details` depend on the code."""

    schema: Literal["lucid.error/1"]
    ok: Literal[False]
    code: str
    exit_code: int
    message: str
    hint: str | None
    details: dict[str, Any]
