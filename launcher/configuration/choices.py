"""The choices that a port and a GPU leave: plain values, which the running supervisor needs as well. Pure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AutoGpu", "AutoPort", "FixedPort", "Gpu", "NamedGpus", "NoGpu", "Port", "PortRange"]


@dataclass(frozen=True)
class FixedPort:
    """Exactly this port, or a conflict."""

    number: int

    def __str__(self) -> str:
        return str(self.number)


@dataclass(frozen=True)
class PortRange:
    """The first free port from `first` to `last`, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


@dataclass(frozen=True)
class AutoPort:
    """Any free port, chosen by the system."""

    def __str__(self) -> str:
        return "auto"


Port = FixedPort | PortRange | AutoPort


@dataclass(frozen=True)
class AutoGpu:
    """The GPU with the most room; the CPU, said loudly, when there is none."""

    def __str__(self) -> str:
        return "auto"


@dataclass(frozen=True)
class NoGpu:
    """The CPU."""

    def __str__(self) -> str:
        return "none"


@dataclass(frozen=True)
class NamedGpus:
    """Exactly these GPUs, by index, `GPU-…` or `MIG-…` identifier; a missing one is an error."""

    names: tuple[str | int, ...]

    def __str__(self) -> str:
        return ", ".join(str(name) for name in self.names)


Gpu = AutoGpu | NoGpu | NamedGpus
