"""What `doctor` looks at for one configuration: the file, its programs, models, GPUs and ports.

Each check answers ok, warn or FAIL with the mend. Ports are tried for a moment and let go; what the running
stack of this very file holds counts as fine.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from launcher.config import Config, load_config
from launcher.configuration.models import Service
from launcher.errors import (
    ConfigInvalid,
    ConfigMissing,
    EnvironmentUnmet,
    LauncherError,
    ModelNotFound,
    PortConflict,
)
from launcher.gpus import GpuReader
from launcher.planning.machine_checks import Check
from launcher.planning.port_claims import PortClaims, claim_ports
from launcher.planning.preflight import check_environment
from launcher.planning.seating import Seat, place_services

__all__ = ["check_stack"]


def check_stack(
    config_path: Path,
    environ: Mapping[str, str],
    reader: GpuReader,
    own_pids: Collection[int],
    seats: Mapping[str, Seat],
) -> Iterator[Check]:
    """Every check of the file at `config_path`; only the first when the file itself is wrong."""
    try:
        config = load_config(config_path, environ)
    except ConfigMissing as error:
        yield Check("config", "warn", str(error), error.hint)
        return
    except ConfigInvalid as error:
        yield _config_failed(error)
        return
    services = [service for service in config.services.values() if service.enabled]
    yield Check("config", "ok", f"{config_path} ({', '.join(config.services)})")
    yield from _environment(config, services, environ)
    yield from _placement(config, services, environ, reader, seats)
    for service in services:
        yield from _ports(config, service, own_pids)


def _config_failed(error: ConfigInvalid) -> Check:
    first, more = str(error.problems[0]), len(error.problems) - 1
    rest = f" (and {more} more)" if more else ""
    return Check("config", "FAIL", f"{first}{rest}", "see all of it with  lucid-launch config check")


def _environment(config: Config, services: list[Service], environ: Mapping[str, str]) -> Iterator[Check]:
    try:
        check_environment(config, services, environ)
    except ConfigInvalid as error:
        yield _config_failed(error)
    except EnvironmentUnmet as error:
        for unmet in error.errors:
            yield _failed("model" if isinstance(unmet, ModelNotFound) else "program", unmet)
    except LauncherError as error:
        yield _failed("model" if isinstance(error, ModelNotFound) else "program", error)
    else:
        built_in = [service.name for service in services if service.server is not None]
        if built_in:
            yield Check("model", "ok", f"found without a network, for {', '.join(built_in)}")
        commands = [service.name for service in services if service.command is not None]
        if commands:
            yield Check("program", "ok", f"found for {', '.join(commands)}")


def _failed(name: str, error: LauncherError) -> Check:
    return Check(name, "FAIL", " ".join(str(error).split("\n")[0].split()), error.hint)


def _placement(
    config: Config,
    services: list[Service],
    environ: Mapping[str, str],
    reader: GpuReader,
    seats: Mapping[str, Seat],
) -> Iterator[Check]:
    try:
        plan = place_services(config, services, reader, environ, seats)
    except EnvironmentUnmet as error:
        yield from (_failed("placement", unmet) for unmet in error.errors)
        return
    except LauncherError as error:
        yield _failed("placement", error)
        return
    for child, assignment in plan.assignments.items():
        if assignment.note is not None:
            yield Check("placement", "warn", assignment.note, "name a GPU with 'gpu' to make this an error")
        elif assignment.ids:
            yield Check("placement", "ok", f"{child} on {', '.join(assignment.ids)}")


def _ports(config: Config, service: Service, own_pids: Collection[int]) -> Iterator[Check]:
    claims = claim_ports(config, [service], {}, strict=False, own_pids=own_pids)
    claims.close()
    for conflict in claims.conflicts:
        yield Check(f"port {service.port}", "FAIL", _held(service, conflict), conflict.hint)
    yield from _free_ports(service, claims)


def _free_ports(service: Service, claims: PortClaims) -> Iterator[Check]:
    shown = {service.name if service.shares_port else child: port for child, port in claims.ports.items()}
    for child, port in shown.items():
        if port.is_fallback:
            detail = f"{child} would listen on {port.number}, since {port.why_fallback()}"
            yield Check(
                f"port {port.number}",
                "warn",
                detail,
                "clients that know only the first port will not find it",
            )
        elif port.number is not None:
            how = "held by the running stack" if port.is_ours_already else "free"
            yield Check(f"port {port.number}", "ok", f"{how}, for {child}")


def _held(service: Service, conflict: PortConflict) -> str:
    if conflict.reason is not None:
        return f"{service.name} cannot have it: {conflict.reason}"
    holders = [
        f"{port} by {holder or 'a process that could not be found'}" for port, holder in conflict.holders
    ]
    return f"{service.name} cannot have it; held: {'; '.join(holders)}"
