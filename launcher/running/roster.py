"""Who is in the stack: services, their children, who is on the way out and who goes by another name now.

Decides which children count as a service's. What happens to them is `stack`'s.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher.children.runtime import ChildRuntime
from launcher.errors import NoSuchService
from launcher.planning.prepared import Seat
from launcher.running.journal import JournalEntry
from launcher.running.listing import Listed
from launcher.running.ordering import AT_REST, Seen, depth_of, missing_dependencies

if TYPE_CHECKING:
    from launcher.configuration.models import Service

__all__ = ["Roster"]


class Roster:
    """The children of one configuration by name; lives on the loop's thread."""

    def __init__(self) -> None:
        """Nobody is here."""
        self.services: dict[str, Service] = {}
        self.listed: dict[str, Listed] = {}
        """Every service of the file as it was last read, whether somebody has started it or not."""
        self.children: dict[str, ChildRuntime] = {}
        self._leaving: set[str] = set()
        self._renamed: dict[str, str] = {}

    def adopt(self, runtime: ChildRuntime) -> bool:
        """Add a child, at rest until it is started; False for one that is here to stay already."""
        is_new = runtime.name not in self.children or runtime.name in self._leaving
        self.services[runtime.service.name] = runtime.service
        self.children[runtime.name] = runtime
        self._leaving.discard(runtime.name)
        return is_new

    def of(self, service: str) -> dict[str, ChildRuntime]:
        """Return the children of a service by name, without those that are on their way out."""
        return {name: child for name, child in self.shown(service).items() if name not in self._leaving}

    def shown(self, service: str) -> dict[str, ChildRuntime]:
        """Return all children of a service that still exist, by name."""
        return {name: child for name, child in self.children.items() if child.service.name == service}

    def urls(self) -> dict[str, str]:
        """Return where services are found: the address of the first replica, as the status has it."""
        firsts = ((name, next(iter(self.shown(name).values()), None)) for name in self.services)
        urls = {name: child.prepared.url for name, child in firsts if child is not None}
        return {name: url for name, url in urls.items() if url is not None}

    def find(self, name: str) -> ChildRuntime | None:
        """Return the child of that name, or the one that had it before it was renamed."""
        return self.children.get(name) or self.children.get(self._renamed.get(name, ""))

    def names(self) -> list[str]:
        """Return every service that is here or in the file, in the order of the file."""
        return list({**self.listed, **self.services})

    def check_known(self, services: Iterable[str]) -> None:
        """Raise NoSuchService for the first that is neither here nor in the file."""
        known = self.names()
        for service in services:
            if service not in known:
                raise NoSuchService(service, known)

    def rename(self, old: str, new: str) -> None:
        """Let a running child go on under another name; what is under way for the old one reaches it."""
        child = self.children.pop(old)
        child.rename(new)
        # The first replica comes first, whenever it was renamed.
        self.children = {new: child, **self.children}
        self._renamed.pop(new, None)
        self._renamed[old] = new

    def missing_for(self, service: Service) -> list[str]:
        """Return the dependencies that are not yet as the service asks."""
        seen = {
            name: [Seen.of(child.life) for child in self.of(name).values()] for name in service.depends_on
        }
        return missing_dependencies(service.conditions, seen)

    def rank(self, service: str) -> int:
        """How many services deep it rests on others: whoever has the highest rank is stopped first."""
        return depth_of(service, {name: each.depends_on for name, each in self.services.items()})

    def journal_entries(self) -> list[JournalEntry]:
        """Return what has to be swept should this process die now."""
        return [
            JournalEntry(name, child.tree.pid, child.tree.started_ticks, child.nonce)
            for name, child in self.children.items()
            if child.tree is not None
        ]

    def held_sockets(self) -> dict[str, tuple[socket.socket, ...]]:
        """Return the listening sockets by child."""
        return {name: child.prepared.sockets for name, child in self.children.items()}

    def seats(self) -> dict[str, Seat]:
        """Return the GPUs by child."""
        return {
            name: Seat(child.prepared.gpu.ids, child.life.pid, child.prepared.port)
            for name, child in self.children.items()
        }

    def drop_what_has_left(self) -> None:
        """Let go of the children that were to leave and are at rest, and of services that have none left."""
        for name in [name for name in self._leaving if self.children[name].life.state in AT_REST]:
            self._leaving.discard(name)
            child = self.children.pop(name)
            child.close()
            for held in child.prepared.sockets:
                with suppress(OSError):
                    held.close()
            if not self.shown(child.service.name):
                self.services.pop(child.service.name, None)
