"""Which child sits on which GPU: the services' requests, what is there, and who sits there already.

Decides what counts as free (what is free now, and what those hold that are placed anew) and turns conflicts
into errors with their place in the file. Who gets what is `placement`.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from launcher.config import Config
from launcher.configuration.models import Service, child_names
from launcher.errors import EnvironmentUnmet, GpuMissing, LauncherError, VramShort
from launcher.gpus import GpuReader, GpuReport
from launcher.placement import GpuFacts, GpuRequest, PlacementConflict, PlacementPlan, plan_placement
from launcher.planning.prepared import Seat, visible_gpus
from launcher.procfs import read_stat

__all__ = ["Seat", "gpu_request", "place_services", "raise_all", "visible_gpus"]


def place_services(
    config: Config,
    services: Collection[Service],
    reader: GpuReader,
    environ: Mapping[str, str],
    seats: Mapping[str, Seat],
) -> PlacementPlan:
    """The GPU of every child; the driver is asked only when a service may want one.

    Raises GpuMissing or VramShort, or EnvironmentUnmet for several of them.
    """
    report = reader.read() if any(str(service.gpu) != "none" for service in services) else GpuReport(())
    requests = [
        gpu_request(config, service, child, seats.get(child))
        for service in services
        for child in child_names(service)
    ]
    placed_anew = {request.child for request in requests}
    freed = {seat.pid for child, seat in seats.items() if child in placed_anew and seat.pid is not None}
    gpus = [_once_left(gpu, freed) for gpu in report.gpus]
    plan = plan_placement(requests, gpus, visible=visible_gpus(environ), problem=report.problem)
    raise_all([_gpu_error(config, conflict) for conflict in plan.conflicts])
    return plan


def gpu_request(config: Config, service: Service, child: str, seat: Seat | None) -> GpuRequest:
    """What one child asks for; a command that says nothing of GPUs is not told that it runs without one."""
    is_written = config.mark(f"services.{service.name}.gpu") is not None
    return GpuRequest(
        child,
        service.name,
        service.gpu,
        service.vram_bytes,
        child_names(service).index(child),
        service.replicas,
        wants_note=service.server is not None or is_written,
        seat=() if seat is None else seat.ids,
    )


def raise_all(errors: Iterable[LauncherError]) -> None:
    """Raise the one error there is, or EnvironmentUnmet with all of them; do nothing without one."""
    found = list(errors)
    if len(found) == 1:
        raise found[0]
    if found:
        raise EnvironmentUnmet(found)


def _once_left(gpu: GpuFacts, leaders: Collection[int]) -> GpuFacts:
    """The GPU as it will be once these children, and what they started, have left it."""
    ours = sum(holder.used_bytes or 0 for holder in gpu.holders if _is_of(holder.pid, leaders))
    return replace(gpu, free_bytes=min(gpu.total_bytes, gpu.free_bytes + ours))


def _is_of(pid: int, leaders: Collection[int]) -> bool:
    if pid in leaders or not leaders:
        return pid in leaders
    facts = read_stat(pid)
    return facts is not None and facts.session in leaders


def _gpu_error(config: Config, conflict: PlacementConflict) -> LauncherError:
    kind = GpuMissing if conflict.kind == "missing" else VramShort
    key = f"services.{conflict.request.service}.{'gpu' if conflict.kind == 'missing' else 'vram'}"
    return kind(
        conflict.request.child,
        conflict.reason,
        where=config.mark(key),
        source=config.source(key),
        hint=conflict.hint,
    )
