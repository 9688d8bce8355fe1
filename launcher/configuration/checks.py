"""What may not stand together in config.yaml: names, ports, dependencies, replicas, probes.

Pure. Each check yields problems with a place; none stops another. Knows nothing of the machine.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from launcher.configuration.models import (
    HEALTH_KINDS,
    SERVICE_NAME,
    FixedPort,
    Gpu,
    NamedGpus,
    NoGpu,
    Port,
    PortRange,
    ServiceKeys,
)
from launcher.configuration.tree import locate
from launcher.configuration.values import parse_port
from launcher.problems import did_you_mean
from launcher.yaml_marks import YamlProblem
from launcher.yaml_nodes import MappingNode, Mark

__all__ = ["LOOPBACK", "Draft", "check_services", "hosts_overlap", "port_of", "replica_problems"]

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ANY_ADDRESS = {"0.0.0.0", "::"}
_ONE_MEMORY = (
    "a memory store has one server, which alone writes to it (SQLite's file and the index beside it cannot "
    "be shared); give a second memory server a store of its own"
)
_NEEDS_SOCKET = "needs a socket that the launcher holds; add  inherit_sockets: true  or leave it out"
_DEFAULT_PORTS = {"memory": parse_port("5000"), "inference": parse_port("5005-5014")}


@dataclass(frozen=True)
class Draft:
    """A service on its way to being valid: merged tree, mark of its name, what the models took or refused."""

    name: str
    tree: MappingNode
    name_mark: Mark
    keys: ServiceKeys
    refused: frozenset[str] = frozenset()

    @property
    def path(self) -> tuple[str, ...]:
        """The keys that lead to the service in the file."""
        return ("services", self.name)

    def problem(self, text: str, *location: str | int) -> YamlProblem:
        """A problem at the value that `location` leads to; at the service's name when that is not written."""
        found = locate(self.tree, location, self.path)
        is_there = len(found.path) == len(self.path) + len(location) or found.path[:1] == ("defaults",)
        mark = found.node.mark if is_there and location else self.name_mark
        return YamlProblem(mark, text, found.path if is_there else self.path)

    def problem_at_key(self, text: str, *location: str | int) -> YamlProblem:
        """A problem with the key itself that `location` leads to."""
        found = locate(self.tree, location, self.path)
        return YamlProblem(found.key_mark or self.name_mark, text, found.path)


def port_of(keys: ServiceKeys) -> Port | None:
    """The port asked for: as written, else that of the built-in server, else None."""
    return keys.port if keys.port is not None else _DEFAULT_PORTS.get(keys.server or "")


def hosts_overlap(one: str, other: str) -> bool:
    """Whether a port on host `one` and on host `other` can clash."""
    if one == other or {one, other} & _ANY_ADDRESS:
        return True
    return "localhost" in (one, other) and {one, other} <= LOOPBACK


def check_services(drafts: Mapping[str, Draft]) -> Iterator[YamlProblem]:
    """Every problem that needs more than one value to be seen."""
    for draft in drafts.values():
        yield from _check_alone(draft)
    yield from _check_ports(drafts)
    yield from _check_dependencies(drafts)


def _check_alone(draft: Draft) -> Iterator[YamlProblem]:
    if not SERVICE_NAME.fullmatch(draft.name):
        text = "a service name is 1 to 63 of A-Z, a-z, 0-9, '_' and '-', and does not start with '-'"
        yield draft.problem(text)
    if draft.name == "supervisor":
        yield draft.problem("is the name of the launcher's own log; give the service another")
    entries = draft.tree.entries
    if "server" in entries and "command" in entries:
        yield draft.problem_at_key("there is also 'server'; keep one of the two", "command")
    if not entries.keys() & {"server", "command"} and not draft.refused:
        yield draft.problem("needs 'server' (memory or inference) or 'command'")
    for check, needs in _CHECKS:
        if not draft.refused & needs:
            yield from check(draft, draft.keys)


def _check_replicas(draft: Draft, keys: ServiceKeys) -> Iterator[YamlProblem]:
    # One that cannot share but says so has a problem of its own, which is told alone.
    shares = keys.port_mode == "shared" and (_is_held(keys) or _is_own(draft, "port_mode"))
    for key, text in replica_problems(
        port_of(keys), keys.gpu, keys.replicas, keys.server, shares_port=shares
    ):
        yield draft.problem(text, key)


def replica_problems(
    port: Port | None, gpu: Gpu, replicas: int, server: str | None = None, *, shares_port: bool = False
) -> Iterator[tuple[str, str]]:
    """Why a service cannot have so many replicas: (key, sentence) for each thing in the way.

    With `shares_port` one port is enough for all of them.
    """
    if replicas > 1 and server == "memory":
        yield "replicas", _ONE_MEMORY
        return
    if not shares_port:
        yield from _port_shortage(port, replicas)
    names = gpu.names if isinstance(gpu, NamedGpus) else ()
    if names and len(names) % replicas and replicas % len(names):
        yield "gpu", f"{len(names)} GPUs cannot be dealt evenly to {replicas} replicas"


def _port_shortage(port: Port | None, replicas: int) -> Iterator[tuple[str, str]]:
    if replicas > 1 and isinstance(port, FixedPort):
        mend = "give a range or auto, or let them share it with  port_mode: shared"
        yield "replicas", f"{replicas} replicas cannot have port {port} each; {mend}"
    if isinstance(port, PortRange) and port.last - port.first + 1 < replicas:
        yield "port", f"has fewer ports than the {replicas} replicas need"


def _is_held(keys: ServiceKeys) -> bool:
    """Whether the launcher listens for the service."""
    return keys.server is not None if keys.inherit_sockets is None else keys.inherit_sockets


def _check_health(draft: Draft, keys: ServiceKeys) -> Iterator[YamlProblem]:
    kinds = [kind for kind in HEALTH_KINDS if getattr(keys.health, kind)]
    if len(kinds) > 1:
        yield draft.problem(f"has {len(kinds)} kinds of probe ({', '.join(kinds)}); keep one", "health")
    elif kinds and kinds[0] in ("websocket", "http", "tcp") and port_of(keys) is None:
        yield draft.problem(
            f"the service needs 'port', or there is nothing to probe with {kinds[0]}", "health"
        )


def _check_canary(draft: Draft, keys: ServiceKeys) -> Iterator[YamlProblem]:
    kind = keys.health.kind or ("websocket" if keys.server else None)
    if keys.health.canary is not None and kind != "websocket":
        text = "goes beside a websocket probe only; add  websocket: stats  or leave it out"
        yield draft.problem_at_key(text, "health", "canary")


def _check_values(draft: Draft, keys: ServiceKeys) -> Iterator[YamlProblem]:
    if keys.command and keys.options:
        yield draft.problem(
            "are for built-in servers only; a command takes its settings as arguments", "options"
        )
    if keys.vram_bytes and isinstance(keys.gpu, NoGpu):
        yield draft.problem("has no meaning with 'gpu: none'", "vram")
    if keys.inherit_sockets and port_of(keys) is None:
        yield draft.problem("needs 'port', or there is no socket to hand down", "inherit_sockets")


def _check_while_starting(draft: Draft, keys: ServiceKeys) -> Iterator[YamlProblem]:
    if keys.while_starting == "answer" and not _is_held(keys) and _is_own(draft, "while_starting"):
        yield draft.problem_at_key(_NEEDS_SOCKET, "while_starting")


def _check_port_mode(draft: Draft, keys: ServiceKeys) -> Iterator[YamlProblem]:
    if keys.port_mode == "shared" and _is_own(draft, "port_mode"):
        if not _is_held(keys):
            yield draft.problem_at_key(_NEEDS_SOCKET, "port_mode")
        elif port_of(keys) is None:
            yield draft.problem_at_key("needs 'port', or there is nothing to share", "port_mode")


def _check_backoff(draft: Draft, keys: ServiceKeys) -> Iterator[YamlProblem]:
    backoff = keys.restart.backoff
    if backoff.max_s < backoff.initial_s and _is_written(draft, "restart", "backoff", "max"):
        yield draft.problem("the longest delay is shorter than the first", "restart", "backoff", "max")


def _check_host(draft: Draft, keys: ServiceKeys) -> Iterator[YamlProblem]:
    is_guarded = keys.options.keys() & {"token", "token_file"} or keys.options.get("insecure") is True
    if keys.server and keys.host not in LOOPBACK and not is_guarded:
        text = f"{keys.host} is reachable from other machines; set a token in options (token_file: PATH)"
        yield draft.problem(text, "host")


def _is_own(draft: Draft, key: str) -> bool:
    """Whether the service itself says so, and not `defaults`."""
    return locate(draft.tree, (key,), draft.path).path[:1] != ("defaults",)


def _is_written(draft: Draft, *location: str) -> bool:
    """Whether the service or `defaults` says so."""
    return locate(draft.tree, location, ()).path[-len(location) :] == location


# Each check, and the keys that it must be able to trust.
_CHECKS: tuple[tuple[Callable[[Draft, ServiceKeys], Iterator[YamlProblem]], frozenset[str]], ...] = (
    (_check_replicas, frozenset({"port", "port_mode", "server", "replicas", "gpu", "inherit_sockets"})),
    (_check_health, frozenset({"port", "server", "health"})),
    (_check_canary, frozenset({"server", "health"})),
    (_check_values, frozenset({"command", "options", "vram", "gpu", "inherit_sockets", "port", "server"})),
    (_check_while_starting, frozenset({"server", "inherit_sockets", "while_starting"})),
    (_check_port_mode, frozenset({"port", "port_mode", "server", "inherit_sockets"})),
    (_check_backoff, frozenset({"restart"})),
    (_check_host, frozenset({"server", "host", "options"})),
)


def _check_ports(drafts: Mapping[str, Draft]) -> Iterator[YamlProblem]:
    """Two services that want the same fixed port; the later one is the problem."""
    seen: list[tuple[Draft, str, int]] = []
    for draft in drafts.values():
        keys = draft.keys
        port = port_of(keys)
        if (
            not keys.enabled
            or draft.refused & {"port", "server", "enabled"}
            or not isinstance(port, FixedPort)
        ):
            continue
        for other, host, number in seen:
            if number == port.number and hosts_overlap(host, keys.host):
                yield draft.problem(f"port {number} is also the port of '{other.name}'", "port")
                break
        seen.append((draft, keys.host, port.number))


def _check_dependencies(drafts: Mapping[str, Draft]) -> Iterator[YamlProblem]:
    wanted = {name: _dependencies(draft) for name, draft in drafts.items()}
    for name, needs in wanted.items():
        for need in needs:
            yield from _check_dependency(drafts, name, need)
    for cycle in _cycles(wanted):
        text = f"each waits for the next, so none would start: {' -> '.join(cycle)}"
        yield drafts[cycle[0]].problem_at_key(text, "depends_on", cycle[1])


def _check_dependency(drafts: Mapping[str, Draft], name: str, need: str) -> Iterator[YamlProblem]:
    draft, other = drafts[name], drafts.get(need)
    if need == name:
        yield draft.problem_at_key("a service cannot depend on itself", "depends_on", need)
    elif other is None:
        guess = did_you_mean(need, tuple(drafts))
        mend = f"; did you mean '{guess}'?" if guess else f"; there are: {', '.join(drafts)}"
        yield draft.problem_at_key(f"there is no service '{need}'{mend}", "depends_on", need)
    elif draft.keys.enabled and not other.keys.enabled:
        yield draft.problem_at_key(
            f"'{need}' is not enabled, so this would wait for ever", "depends_on", need
        )


def _dependencies(draft: Draft) -> tuple[str, ...]:
    node = draft.tree.entries.get("depends_on")
    return tuple(node.entries) if isinstance(node, MappingNode) else ()


def _cycles(wanted: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Each cycle of two or more, once, starting and ending at its member that comes first in the file."""
    order = {name: place for place, name in enumerate(wanted)}
    found: set[frozenset[str]] = set()
    for start in wanted:
        trail = _way_back(start, wanted, order)
        if trail is not None and frozenset(trail) not in found:
            found.add(frozenset(trail))
            yield (*trail, start)


def _way_back(
    start: str, wanted: Mapping[str, tuple[str, ...]], order: Mapping[str, int]
) -> tuple[str, ...] | None:
    """The shortest way from `start` back to it over services later in the file; None when there is none."""
    ways: list[tuple[str, ...]] = [(start,)]
    visited: set[str] = set()
    for way in ways:
        for need in wanted[way[-1]]:
            if need == start and len(way) > 1:
                return way
            if need in wanted and need not in visited and order[need] > order[start]:
                visited.add(need)
                ways.append((*way, need))
    return None
