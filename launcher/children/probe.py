"""Which probe a child gets, from its `health` settings.

Decides the address that is asked (loopback when the service listens everywhere) and the headers that open the
doors of a built-in server with a token. Does not know rhythm, thresholds or states.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from launcher.children.environment import fill_in
from launcher.children.exec_probe import ExecProbe
from launcher.children.parent import Parent
from launcher.children.probing import NotifyFacts, NotifyProbe
from launcher.configuration.models import Service
from launcher.probes import Endpoint, HttpProbe, Probe, TcpProbe, WebSocketProbe
from launcher.spawning import SpawnRequest

__all__ = ["build_probe", "probe_kind"]

_EVERYWHERE = {"localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}


def probe_kind(service: Service) -> str | None:
    """Return which probe the service has: its own, `websocket` for a built-in server, or None."""
    return service.health.kind or (None if service.server is None else "websocket")


def build_probe(
    service: Service, port: int | None, environ: Mapping[str, str], facts: NotifyFacts, parent: Parent
) -> Probe:
    """Return the probe of one generation; `environ` is the child's own.

    Raises LookupError when the probe needs a port and the service has none.
    """
    health = service.health
    kind = probe_kind(service)
    if kind == "notify":
        return NotifyProbe(facts, health.period_s * health.failures)
    if kind == "exec":
        request = SpawnRequest(fill_in(health.exec or (), environ), environ, service.cwd, user=service.user)
        return ExecProbe(parent, request)
    if port is None:
        raise LookupError(f"the {kind} probe needs a port, and the service has none")
    endpoint = Endpoint(_EVERYWHERE.get(service.host, service.host), port, _headers(service))
    if kind == "http":
        return HttpProbe(endpoint, health.http or "/")
    if kind == "tcp":
        return TcpProbe(endpoint)
    return WebSocketProbe(endpoint, {"type": health.websocket or "stats"}, health.canary)


def _headers(service: Service) -> dict[str, str]:
    """The token of a built-in server, read anew for each generation as the file may have changed."""
    token = service.options.get("token")
    token_file = service.options.get("token_file")
    if not token and isinstance(token_file, str):
        path = Path(token_file)
        token = (path if path.is_absolute() else service.cwd / path).read_text(encoding="utf-8").strip()
    return {"Authorization": f"Bearer {token}"} if token else {}
