"""The planner: a process that reads the file, checks the machine, reserves ports, answers once and is gone.

Run by the supervisor as `python -m launcher.planning.planner` with a channel of `wire` as fd 3. Decides
nothing that `config` and `preflight` do not decide; it exists so that neither the models nor YAML, NVML or
psutil stay in the memory of the process that supervises, and so that reading never holds it up.
"""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.config import Config, load_config, locate_problem
from launcher.configuration.checks import replica_problems
from launcher.configuration.needs import successions, with_dependencies
from launcher.errors import ConfigInvalid, LauncherError, NoSuchService
from launcher.planning.preflight import Prepared, prepare
from launcher.planning.prepared import Seat, child_to_json
from launcher.reconcile import digest_of, settings_of
from launcher.records import Record, from_json, to_json
from launcher.wire import Message, receive, send

__all__ = ["answer", "main"]

_CHANNEL_FD = 3
Sockets = Mapping[str, tuple[socket.socket, ...]]


def answer(request: Message, fds: Sequence[int]) -> tuple[Message, list[socket.socket]]:
    """Return the reply to one request of `running.file_plan`, and the listening sockets bound for it."""
    try:
        config, chosen = _read(request)
        renamed = {
            old: new
            for name in chosen
            for old, new in successions(config.services[name], request["running"].get(name, ())).items()
        }
        held = _held(request["held"], fds)
        prepared = prepare(
            config,
            held={renamed.get(child, child): sockets for child, sockets in held.items()},
            strict_ports=request["strict_ports"],
            environ=os.environ,
            only=chosen,
            own_pids=request["own_pids"],
            seats=_seats(request["seats"], renamed),
        )
    except LauncherError as error:
        return {"error": error.to_document()}, []
    return _reply(config, chosen, prepared, held)


def _read(request: Message) -> tuple[Config, set[str]]:
    """The services as they are wanted, and which of them are meant."""
    if request["service"] is not None:
        return _scaled_alone(request)
    config = load_config(Path(request["path"]), os.environ)
    names = request["names"]
    for name in names:
        if name not in config.services:
            raise NoSuchService(name, list(config.services))
    needs = {name: service.depends_on for name, service in config.services.items()}
    everything = [name for name, service in config.services.items() if service.enabled]
    chosen = with_dependencies(names or everything, needs if request["with_needs"] else {})
    services = {
        name: service.model_copy(
            update={
                # A service that the user names counts as enabled.
                "enabled": service.enabled or name in names,
                "replicas": request["scaled"].get(name, service.replicas),
            }
        )
        for name, service in config.services.items()
    }
    return dataclasses.replace(config, services=services), chosen


def _scaled_alone(request: Message) -> tuple[Config, set[str]]:
    """One service as it runs but for its replicas; the file serves to name places, if it can be read."""
    path = Path(request["path"])
    try:
        config = load_config(path, os.environ)
    except LauncherError:
        config = Config("", path, path.parent, {}, {})
    running = from_json(request["service"])
    replicas = request["scaled"][running.name]
    problems = [
        locate_problem(config, f"services.{running.name}.{key}", text)
        for key, text in replica_problems(
            running.port, running.gpu, replicas, running.server, shares_port=running.shares_port
        )
    ]
    if problems:
        raise ConfigInvalid(problems)
    settings = {**running.settings, "replicas": digest_of(replicas)}
    service = Record({**vars(running), "replicas": replicas, "settings": settings})
    services: Any = {**config.services, running.name: service}
    return dataclasses.replace(config, services=services), {running.name}


def _held(counts: Sequence[tuple[str, int]], fds: Sequence[int]) -> dict[str, tuple[socket.socket, ...]]:
    left = iter(fds)
    return {child: tuple(socket.socket(fileno=next(left)) for _ in range(count)) for child, count in counts}


def _seats(documents: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Seat]:
    return {
        renamed.get(child, child): Seat(tuple(each["ids"]), each["pid"], each["port"])
        for child, each in documents.items()
    }


def _reply(
    config: Config, chosen: set[str], prepared: Prepared, held: Sockets
) -> tuple[Message, list[socket.socket]]:
    places = {id(one): (child, place) for child, sockets in held.items() for place, one in enumerate(sockets)}
    bound: list[socket.socket] = []
    children = []
    for child in prepared.children.values():
        # Where each socket is among those held, or None for a new one.
        found = [places.get(id(one)) for one in child.sockets]
        bound += [one for one, place in zip(child.sockets, found, strict=True) if place is None]
        children.append({**child_to_json(child), "sockets": found})
    services = {
        name: to_json(service, settings=settings_of(service)) for name, service in config.services.items()
    }
    metrics = {"metrics_port": config.metrics_port, "metrics_where": config.mark("metrics_port")}
    reply = {"project": config.project, "chosen": sorted(chosen), "services": services, **metrics}
    return {**reply, "children": children, "notes": prepared.notes}, bound


def main() -> None:
    """Answer the one request; never returns, so that nobody waits for the libraries to be torn down."""
    with socket.socket(fileno=_CHANNEL_FD) as channel:
        received = receive(channel)
        if received is not None:
            reply, bound = answer(*received)
            send(channel, reply, [one.fileno() for one in bound])
    os._exit(0)


if __name__ == "__main__":
    main()
