"""Runs one service: sockets, loop, phases, signals, drain, exit code (launcher.md §6).

Decides the order of a life: bind, answer (`model_loading`) while the service loads, serve, drain on SIGTERM
or SIGINT, exit.  uvicorn's own signal handling is not used: it closes every WebSocket before its pending
replies, and re-raises the signal, so that a clean stop would look like a death.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Iterable, Mapping

import uvicorn

from servers.access import AccessRules
from servers.asgi import Doors
from servers.errors import BadSettings, StartupError
from servers.listeners import BACKLOG, Listeners, bind, inherit, raise_file_limit
from servers.logs import PhaseLog, configure_logging
from servers.notify import Notifier
from servers.readiness import Readiness
from servers.service import Service
from servers.settings import ServerSettings, is_loopback
from servers.shared_port import SharedPort, open_shared
from servers.uvicorn_protocols import Aborting, BoundedHead, ConnectionLedger

__all__ = ["ServerProcess", "access_rules", "run"]

logger = logging.getLogger("lucid")

GOING_AWAY, SERVICE_RESTART = 1001, 1012
EXIT_CRASHED = 1
PING_INTERVAL_S = PING_TIMEOUT_S = 20.0
LAST_REPLIES_S = 1.0
CLOSE_HANDSHAKE_S = 1.5
_SPARE_FILES = 256
_WILDCARDS = frozenset({"0.0.0.0", "::"})

COLLECTOR_THRESHOLDS = (10_000, 20, 20)  # see `gc.set_threshold`


def run(service: Service, settings: ServerSettings, *, default_ports: Iterable[int]) -> int:
    """Serves until SIGTERM, SIGINT or a failed start; returns the process's exit code.

    0 after a clean stop; a StartupError's own code (78: do not retry, 5: port taken) with its text on stderr;
    1 when the service died of anything else.
    """
    supervised = is_supervised(os.environ)
    configure_logging(with_time=not supervised)
    logging.getLogger().addHandler(service.telemetry.lines)
    faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True)
    notifier = Notifier.from_environment(os.environ)
    try:
        listeners = _open_listeners(settings, default_ports)
        rules = access_rules(service, settings, listeners)
        service.readiness.subscribe(spare_the_collector)
        process = ServerProcess(service, settings, listeners, rules, notifier, is_supervised=supervised)
        return asyncio.run(process.run())
    except StartupError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    finally:
        notifier.close()


def spare_the_collector(readiness: Readiness) -> None:
    """Once everything is loaded, keeps the garbage collector from walking what lives as long as the process.

    torch and what it brings are 400,000 objects, and each full collection among them stops every request for
    a tenth of a second and more.  The rest, such as the state of a thousand connections, is walked less often
    than Python would: a third of the event loop's time went there under a flood of requests.
    """
    if readiness.is_ready:
        gc.freeze()
        gc.set_threshold(*COLLECTOR_THRESHOLDS)


def is_supervised(environ: Mapping[str, str]) -> bool:
    """Whether a supervisor started this process, so that a stop is likely to be a restart."""
    return any(environ.get(name) for name in ("LUCID_CHILD", "NOTIFY_SOCKET", "LISTEN_FDS"))


def access_rules(service: Service, settings: ServerSettings, listeners: Listeners) -> AccessRules:
    """The access rules for what was bound.  Raises BadSettings when others could reach it without a token."""
    if not listeners.are_loopback:
        settings.require_guard(", ".join(listeners.addresses))
    named = {settings.host, *listeners.addresses, *settings.allowed_hosts} - _WILDCARDS
    return AccessRules(
        hosts=frozenset(f"[{name}]" if ":" in name else name for name in map(_bare, named)),
        origins=frozenset(settings.allowed_origins),
        token=settings.read_token(),
        cookie_name=f"lucid_{service.name}",
    )


class ServerProcess:
    """One service on its sockets, from loading to the last close; use once."""

    def __init__(
        self,
        service: Service,
        settings: ServerSettings,
        listeners: Listeners,
        rules: AccessRules,
        notifier: Notifier,
        *,
        is_supervised: bool,
    ) -> None:
        self._service, self._settings, self._rules = service, settings, rules
        self._listeners, self._notifier = listeners, notifier
        self._close_code = SERVICE_RESTART if is_supervised else GOING_AWAY
        self._stop_asked, self._released = asyncio.Event(), asyncio.Event()
        self._has_started = self._is_hurried = False
        self._limit: asyncio.Timeout | None = None
        self._shared: SharedPort | None = None

    async def run(self) -> int:
        """Serves until asked to stop or the service ends by itself; returns the exit code.

        Raises StartupError when the service could not start.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        doors = Doors(self._service, self._settings, self._rules, close_code=self._close_code)
        server, ledger = await self._open(doors)
        life = loop.create_task(self._live(), name="service")
        life.add_done_callback(lambda _: self._stop_asked.set())
        watchdog = loop.create_task(self._feed_watchdog(), name="watchdog")
        try:
            await self._stop_asked.wait()
            await self._drain(server, doors, ledger)
            return await self._end(life)
        finally:
            watchdog.cancel()
            await asyncio.wait({watchdog})

    def stop(self) -> None:
        """The first call drains, the next one cuts the drain short; SIGTERM and SIGINT call it."""
        if self._stop_asked.is_set():
            self._is_hurried = True
            if self._limit is not None and not self._limit.expired():
                self._limit.reschedule(asyncio.get_running_loop().time())
        self._stop_asked.set()

    async def _open(self, doors: Doors) -> tuple[uvicorn.Server, ConnectionLedger]:
        """Answers on the sockets from here on, whether or not the service is ready."""
        telemetry, readiness = self._service.telemetry, self._service.readiness
        telemetry.port, telemetry.child = self._listeners.port, os.environ.get("LUCID_CHILD")
        telemetry.peers.update(_read_peers(os.environ))
        readiness.subscribe(self._notifier.on_change)
        readiness.subscribe(PhaseLog(self._service.name))
        raise_file_limit(self._settings.max_connections + _SPARE_FILES)
        server = uvicorn.Server(_uvicorn_config(doors, self._settings))
        ledger = server.server_state = ConnectionLedger()
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup(sockets=list(self._listeners.private or self._listeners.sockets))
        self._shared = open_shared(server, self._listeners, readiness)
        if self._listeners.note:
            logger.warning("%s", self._listeners.note)
        logger.info(
            "the %s server listens on port %d (%s)",
            self._service.name,
            self._listeners.port,
            ", ".join(self._listeners.addresses),
        )
        return server, ledger

    async def _live(self) -> None:
        try:
            await self._service.start()
            self._has_started = True
            await self._released.wait()
        finally:
            await self._service.stop()

    async def _drain(self, server: uvicorn.Server, doors: Doors, ledger: ConnectionLedger) -> None:
        if self._shared is not None:
            await self._let_settle(self._shared.leave_s())
        self._service.readiness.drain()
        for listening in server.servers:
            listening.close()
        doors.drain()
        if not await self._is_emptied(doors, 0.0 if self._is_hurried else self._settings.drain_s):
            logger.warning("%d requests were not done in time", self._service.telemetry.in_flight)
            doors.abandon()
            await self._is_emptied(doors, LAST_REPLIES_S)
        for connection in list(ledger.connections):
            if isinstance(connection, BoundedHead):
                connection.shutdown()
        # A socket that is closed with unread input resets, and the reset may overtake the last replies: so
        # the peers get the time to answer the close.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_HANDSHAKE_S):
                await ledger.emptied.wait()
        for connection in list(ledger.connections):
            connection.transport.abort()

    async def _let_settle(self, within_s: float) -> None:
        """Other processes are there for whoever comes now, so nobody who was just accepted is refused."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.0 if self._is_hurried else within_s) as self._limit:
                await asyncio.Event().wait()
        self._limit = None

    async def _is_emptied(self, doors: Doors, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s) as self._limit:
                await doors.wait_empty()
        except TimeoutError:
            return False
        finally:
            self._limit = None
        return True

    async def _end(self, life: asyncio.Task[None]) -> int:
        if self._has_started:
            self._released.set()
        else:
            life.cancel()
        await asyncio.wait({life})
        error = None if life.cancelled() else life.exception()
        if error is None:
            logger.info("the %s server has stopped", self._service.name)
            return 0
        if isinstance(error, StartupError):
            raise error
        logger.critical("the %s server has died", self._service.name, exc_info=error)
        return EXIT_CRASHED

    async def _feed_watchdog(self) -> None:
        """Tells a supervisor that asked for it (sd_watchdog_enabled(3)) that the loop runs and works."""
        period_us = os.environ.get("WATCHDOG_USEC", "")
        if not period_us.isdigit() or int(period_us) == 0:
            return
        while True:
            self._service.check_alive()
            if self._service.readiness.failure is None:
                self._notifier.send(WATCHDOG=1)
            await asyncio.sleep(int(period_us) / 2_000_000)


def _uvicorn_config(doors: Doors, settings: ServerSettings) -> uvicorn.Config:
    return uvicorn.Config(
        doors,
        http=BoundedHead,
        ws=Aborting,
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        backlog=BACKLOG,
        ws_max_size=settings.max_message_bytes,
        ws_ping_interval=PING_INTERVAL_S,
        ws_ping_timeout=PING_TIMEOUT_S,
        ws_per_message_deflate=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
    )


def _open_listeners(settings: ServerSettings, default_ports: Iterable[int]) -> Listeners:
    inherited = inherit(os.environ, os.getpid())
    if inherited is not None:
        return inherited
    if not is_loopback(settings.host):
        settings.require_guard(settings.host)
    return bind(settings.host, default_ports if settings.port is None else (settings.port,))


def _bare(name: str) -> str:
    return name.strip("[]").lower()


def _read_peers(environ: Mapping[str, str]) -> dict[str, str]:
    text = environ.get("LUCID_PEERS", "")
    try:
        peers = json.loads(text or "{}")
    except ValueError as error:
        raise BadSettings(f"LUCID_PEERS is not JSON: {error}", where="the environment") from error
    return {str(name): str(url) for name, url in peers.items()} if isinstance(peers, dict) else {}
