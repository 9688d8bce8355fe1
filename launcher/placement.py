"""The GPU plan: which child gets which GPU, when the CPU stands in, and what cannot be had.

Pure. Decides by free memory and budgets; what exists is an argument. A GPU that the file names must be
there and have room; `auto` takes the one with the most room and falls back to the CPU, never without a
note.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from launcher.configuration.choices import AutoGpu, Gpu, NamedGpus, NoGpu
from launcher.configuration.units import format_size

__all__ = [
    "CPU",
    "Assignment",
    "GpuFacts",
    "GpuHolder",
    "GpuRequest",
    "PlacementConflict",
    "PlacementPlan",
    "plan_placement",
]

# A child without a budget still takes room: enough that the next one prefers an emptier GPU.
NOMINAL_BYTES = 1024**3


@dataclass(frozen=True)
class GpuHolder:
    """A process that uses a GPU, and how many bytes of it; None where the driver does not tell.

    `name` is the program's; None where the pid is of another namespace or the process has gone.
    """

    pid: int
    used_bytes: int | None
    name: str | None = None


@dataclass(frozen=True)
class GpuFacts:
    """One GPU or MIG device. `index` is the PCI order, None for a MIG device, whose GPU is `parent`.

    `is_split`: MIG is on, so only the MIG devices of this GPU can be used. `cpus` are the processors of its
    NUMA node, empty where that is not known; figures are None where the driver does not tell them.
    """

    uuid: str
    index: int | None
    name: str
    total_bytes: int
    free_bytes: int
    holders: tuple[GpuHolder, ...] = ()
    is_split: bool = False
    parent: str | None = None
    cpus: tuple[int, ...] = ()
    utilization_percent: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None

    def __str__(self) -> str:
        number = "MIG device" if self.index is None else f"GPU {self.index}"
        return f"{number} {self.name} ({self.uuid}, {format_size(self.free_bytes)} free)"


@dataclass(frozen=True)
class GpuRequest:
    """What one child asks for; `vram_bytes` is its budget over all its GPUs.

    `seat` are the GPUs that it has now: `auto` stays there while there is room.
    """

    child: str
    service: str
    gpu: Gpu
    vram_bytes: int | None = None
    replica: int = 0
    replicas: int = 1
    wants_note: bool = True
    seat: tuple[str, ...] = ()


@dataclass(frozen=True)
class Assignment:
    """What a child gets: GPU identifiers, the device as it sees it, its CUDA_VISIBLE_DEVICES, a loud note.

    `cpus` are the processors near its GPUs, empty for all of them.
    """

    ids: tuple[str, ...]
    device: str
    cuda_visible_devices: str
    note: str | None = None
    cpus: tuple[int, ...] = ()


CPU = Assignment((), "cpu", "")


@dataclass(frozen=True)
class PlacementConflict:
    """A request that cannot be met: a GPU that is not there, or has too little memory."""

    request: GpuRequest
    kind: Literal["missing", "short"]
    reason: str
    hint: str


@dataclass(frozen=True)
class PlacementPlan:
    """An assignment for each child that can have one, and every conflict."""

    assignments: Mapping[str, Assignment]
    conflicts: tuple[PlacementConflict, ...]


def plan_placement(
    requests: Sequence[GpuRequest],
    gpus: Sequence[GpuFacts],
    *,
    visible: Sequence[str] | None = None,
    problem: str | None = None,
) -> PlacementPlan:
    """Place every request; named GPUs first, so that `auto` never takes what the file promised to another.

    `visible` is the launcher's own CUDA_VISIBLE_DEVICES, split; it limits `auto` and gives way to a GPU
    that the file names. `problem` says why `gpus` may be empty, for the note.
    """
    planning = _Planning(gpus, visible, problem)
    for request in sorted(requests, key=lambda request: isinstance(request.gpu, AutoGpu)):
        planning.place(request)
    placed = planning.assignments
    in_order = {request.child: placed[request.child] for request in requests if request.child in placed}
    return PlacementPlan(in_order, tuple(planning.conflicts))


@dataclass
class _Planning:
    gpus: Sequence[GpuFacts]
    visible: Sequence[str] | None
    problem: str | None
    assignments: dict[str, Assignment] = field(default_factory=dict)
    conflicts: list[PlacementConflict] = field(default_factory=list)
    planned: dict[str, int] = field(default_factory=dict)
    budgets: dict[str, list[str]] = field(default_factory=dict)

    def place(self, request: GpuRequest) -> None:
        match request.gpu:
            case NoGpu():
                self.assignments[request.child] = CPU
            case AutoGpu():
                self._place_auto(request)
            case NamedGpus():
                self._place_named(request, _share(request))

    def _room(self, gpu: GpuFacts) -> int:
        return gpu.free_bytes - self.planned.get(gpu.uuid, 0)

    def _attraction(self, gpu: GpuFacts) -> tuple[int, int]:
        """Most room first; of equals the one with fewer children."""
        return self._room(gpu), -len(self.budgets.get(gpu.uuid, ()))

    def _take(self, request: GpuRequest, gpus: Sequence[GpuFacts], note: str | None = None) -> None:
        each = NOMINAL_BYTES if request.vram_bytes is None else -(-request.vram_bytes // len(gpus))
        for gpu in gpus:
            self.planned[gpu.uuid] = self.planned.get(gpu.uuid, 0) + each
            self.budgets.setdefault(gpu.uuid, []).append(request.child)
        ids = tuple(gpu.uuid for gpu in gpus)
        near = tuple(sorted({cpu for gpu in gpus for cpu in gpu.cpus}))
        self.assignments[request.child] = Assignment(ids, "cuda:0", ",".join(ids), note, near)

    def _place_auto(self, request: GpuRequest) -> None:
        usable = [gpu for gpu in self.gpus if not gpu.is_split and self._is_visible(gpu)]
        fitting = [gpu for gpu in usable if self._room(gpu) >= (request.vram_bytes or 0)]
        if fitting:
            seated = [gpu for gpu in fitting if gpu.uuid in request.seat]
            self._take(request, seated[:1] or [max(fitting, key=self._attraction)])
            return
        note = (
            f"{request.child} runs on the CPU, which is many times slower: {self._why_cpu(request, usable)}"
        )
        self.assignments[request.child] = Assignment((), "cpu", "", note if request.wants_note else None)

    def _is_visible(self, gpu: GpuFacts) -> bool:
        if self.visible is None:
            return True
        names = {str(gpu.index), gpu.uuid, gpu.parent}
        return any(name in names or (len(name) > 4 and gpu.uuid.startswith(name)) for name in self.visible)

    def _why_cpu(self, request: GpuRequest, usable: Sequence[GpuFacts]) -> str:
        if usable:
            best = max(usable, key=self._room)
            left = format_size(max(0, self._room(best)))
            return f"no GPU has {format_size(request.vram_bytes or 0)} to spare; the most is {left} on {best}"
        if self.gpus and self.visible is not None:
            return "CUDA_VISIBLE_DEVICES of the launcher leaves no GPU visible"
        return self.problem or "this machine has no NVIDIA GPU"

    def _place_named(self, request: GpuRequest, names: Sequence[str | int]) -> None:
        found: list[GpuFacts] = []
        for name in names:
            gpu = self._find(name)
            if isinstance(gpu, str):
                self.conflicts.append(PlacementConflict(request, "missing", gpu, self._what_exists()))
            else:
                found.append(gpu)
        if len(found) == len(names) and self._has_room(request, found):
            self._take(request, found)

    def _find(self, name: str | int) -> GpuFacts | str:
        """The GPU of that name, or the sentence that says why there is none."""
        if isinstance(name, int):
            matches = [gpu for gpu in self.gpus if gpu.index == name]
        else:
            matches = [gpu for gpu in self.gpus if gpu.uuid == name]
            matches = matches or [gpu for gpu in self.gpus if gpu.uuid.startswith(name)]
        if not matches:
            return f"there is no GPU {name}" + (f": {self.problem}" if not self.gpus and self.problem else "")
        if len(matches) > 1:
            return f"{name} fits {len(matches)} GPUs; write more of the identifier"
        if matches[0].is_split:
            return f"GPU {name} is split into MIG devices; name one of those"
        return matches[0]

    def _has_room(self, request: GpuRequest, gpus: Sequence[GpuFacts]) -> bool:
        if request.vram_bytes is None:
            return True
        each = -(-request.vram_bytes // len(gpus))
        short = [gpu for gpu in gpus if self._room(gpu) < each]
        for gpu in short:
            self.conflicts.append(PlacementConflict(request, "short", self._shortage(gpu, each), _mend(gpu)))
        return not short

    def _shortage(self, gpu: GpuFacts, each: int) -> str:
        others = self.budgets.get(gpu.uuid, [])
        shared = (
            f", of which {format_size(self.planned[gpu.uuid])} are promised to {', '.join(others)}"
            if others
            else ""
        )
        return f"needs {format_size(each)} on {gpu}{shared}"

    def _what_exists(self) -> str:
        usable = [str(gpu) for gpu in self.gpus if not gpu.is_split]
        return "there are: " + "; ".join(usable) if usable else "use  gpu: auto  to fall back to the CPU"


def _share(request: GpuRequest) -> Sequence[str | int]:
    """The named GPUs that fall to this replica: dealt evenly, or one each in turn when replicas are more."""
    names = request.gpu.names if isinstance(request.gpu, NamedGpus) else ()
    if len(names) >= request.replicas:
        each = len(names) // request.replicas
        return names[request.replica * each : (request.replica + 1) * each]
    return (names[request.replica % len(names)],)


def _mend(gpu: GpuFacts) -> str:
    """Who holds the memory of that GPU, and what to do."""
    return "lower 'vram', use another GPU, or free memory; " + "; ".join(_held(gpu))


def _held(gpu: GpuFacts) -> Iterator[str]:
    if not gpu.holders:
        yield "no process that we can see uses this GPU"
    for holder in gpu.holders:
        size = "an unknown amount" if holder.used_bytes is None else format_size(holder.used_bytes)
        name = "" if holder.name is None else f" ({holder.name})"
        yield f"pid {holder.pid}{name} holds {size}"
