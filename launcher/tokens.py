"""The access token of a built-in server: where its settings say that it is.

Decides nothing about who must show it; it is never written anywhere. The server itself reads it in the same
way (protocol.md section 2).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.configuration.models import Service

__all__ = ["needs_token", "read_token"]


def needs_token(service: Service) -> bool:
    """Whether requests to the service need a token."""
    return service.server is not None and bool(
        service.options.get("token") or service.options.get("token_file")
    )


def read_token(service: Service) -> str | None:
    """Return the token that the service's settings name, read anew as its file may have changed.

    None when there is none. Raises OSError or UnicodeError for a file that cannot be read.
    """
    if not needs_token(service):
        return None
    token_file = service.options.get("token_file")
    if isinstance(token_file, str) and token_file:
        return (service.cwd / Path(token_file).expanduser()).read_text(encoding="utf-8").strip()
    return str(service.options["token"])
