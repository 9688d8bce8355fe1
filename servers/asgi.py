"""The doors shared by both servers, as one ASGI application."""

from __future__ import annotations

from servers.readiness import Readiness
from servers.service import Command, RequestContext, Service

__all__ = ["Command", "Readiness", "RequestContext", "Service"]
