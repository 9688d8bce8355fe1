"""Every error that the servers raise on purpose, in one small tree.

Decides which failures exist and the code that each has on the wire (protocol.md §3) or as a process exit code
(launcher.md §6).  Does not know how an error is encoded, logged or displayed: `servers.protocol` and
`servers.serve` do that.  Anything that is not in this tree is a bug and is answered as `internal`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

__all__ = [
    "BadSettings",
    "Cancelled",
    "DeadlineExceeded",
    "InternalError",
    "InvalidJson",
    "InvalidRequest",
    "ModelLoading",
    "ModelMissing",
    "NotFound",
    "OriginNull",
    "Overloaded",
    "PortTaken",
    "RequestError",
    "ServerError",
    "ShuttingDown",
    "StartupError",
    "StorageError",
    "StorageFull",
    "StoreOpening",
    "StoreUnusable",
    "TooLarge",
    "UnknownCommand",
]

EX_CONFIG = 78
EX_CONFLICT = 5


class ServerError(Exception):
    """Base of every error that a server raises on purpose."""


class RequestError(ServerError):
    """One request cannot be answered with success; the connection goes on.

    `text` is a sentence for the person who sent the request, `details` is JSON-ready, `retry_after` is in
    seconds.  `echo` and `request_type` are filled by `protocol.decode` when a bad frame still showed them.
    """

    code: ClassVar[str] = "internal"

    def __init__(
        self, text: str, *, details: Mapping[str, object] | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(text)
        self.text = text
        self.details = dict(details) if details else None
        self.retry_after = retry_after
        self.echo: dict[str, Any] = {}
        self.request_type: str | None = None

    def __str__(self) -> str:
        return self.text


class InvalidJson(RequestError):
    """The frame is not a JSON document that may be read (protocol.md §3, first row)."""

    code = "invalid_json"

    def __init__(self, reason: str) -> None:
        # The text is fixed by the contract, since old clients compare it; the reason travels beside it.
        super().__init__("Invalid JSON format", details={"reason": reason})


class InvalidRequest(RequestError):
    """The JSON is readable, but a field is missing, of the wrong type or out of range."""

    code = "invalid_request"


class UnknownCommand(RequestError):
    """The request names no command, or one that this server does not have."""

    code = "unknown_command"


class TooLarge(RequestError):
    """A text or a body is longer than this server accepts."""

    code = "too_large"


class ModelLoading(RequestError):
    """The model is not ready yet; `details` carry phase and progress."""

    code = "model_loading"


class StoreOpening(RequestError):
    """The memory store is not open yet; `details` carry phase and progress."""

    code = "store_opening"


class Overloaded(RequestError):
    """A queue is full; nothing was queued, so the client may simply retry after `retry_after` seconds."""

    code = "overloaded"


class DeadlineExceeded(RequestError):
    """The request's own `timeout_ms` passed before its answer was ready."""

    code = "deadline_exceeded"


class Cancelled(RequestError):
    """The client asked for this request to be dropped."""

    code = "cancelled"


class ShuttingDown(RequestError):
    """The server drains and takes no new requests."""

    code = "shutting_down"


class OriginNull(RequestError):
    """A page without an origin (a file, a sandboxed frame) asked for more than `stats`."""

    code = "origin_null"


class NotFound(RequestError):
    """The object that the request names does not exist."""

    code = "not_found"


class StorageError(RequestError):
    """The store could not read or write; nothing was acknowledged."""

    code = "storage_error"


class StorageFull(RequestError):
    """The disk is full; the store is read-only until space is freed."""

    code = "storage_full"


class InternalError(RequestError):
    """Something unforeseen happened; the log has the traceback under the incident id."""

    code = "internal"

    def __init__(self, incident: str, what: str = "Internal error") -> None:
        super().__init__(
            f"{what}; the server's log says more under incident {incident}.",
            details={"incident": incident},
        )


class StartupError(ServerError):
    """The process cannot start: what failed, where, and the mend.

    `exit_code` is what the process must exit with; 78 (EX_CONFIG) tells the launcher not to retry.
    """

    code: ClassVar[str] = "E_STARTUP"
    exit_code: ClassVar[int] = EX_CONFIG

    def __init__(self, what: str, *, where: str | None = None, mend: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.mend = mend

    def __str__(self) -> str:
        lines = [f"error {self.code}: {self.what}"]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.mend:
            lines.append(f"  fix:   {self.mend}")
        return "\n".join(lines)


class ModelMissing(StartupError):
    """The model's files are not on this machine."""

    code = "E_MODEL_MISSING"


class PortTaken(StartupError):
    """Another process listens where this server must; nothing was started."""

    code = "E_PORT_IN_USE"
    exit_code = EX_CONFLICT


class StoreUnusable(StartupError):
    """The memory store cannot be opened or is damaged beyond automatic recovery."""

    code = "E_STORE_UNUSABLE"


class BadSettings(StartupError):
    """The settings given on the command line, in the environment or in config.yaml cannot be used."""

    code = "E_SETTINGS"
