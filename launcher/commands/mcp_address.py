"""Where the memory server's MCP door is: from the running stack, else from the file.

A client may be configured, or start its bridge, before the stack runs; then the file says the port.
"""

import os
from urllib.parse import urlsplit

from launcher.config import load_config
from launcher.configuration.values import FixedPort
from launcher.control_client import fetch_status
from launcher.errors import ActionFailed, LauncherError
from launcher.invocation import Invocation


def mcp_url(invocation: Invocation) -> str:
    """The door's address, such as http://localhost:5000/mcp. Raises ActionFailed when there is none."""
    path = invocation.config_path()
    config = load_config(path, os.environ)
    names = [name for name, service in config.services.items() if service.server == "memory"]
    if not names:
        raise ActionFailed("the file has no memory server", hint="add a service with  server: memory")
    name = names[0]
    try:
        url = fetch_status(path)["services"][name].get("url")
    except (LauncherError, KeyError):
        url = None
    if url:
        return f"http://{urlsplit(url).netloc}/mcp"
    port = config.services[name].port
    if not isinstance(port, FixedPort):
        raise ActionFailed(f"{name} has no fixed port and does not run", hint="start it:  lucid-launch up -d")
    return f"http://localhost:{port}/mcp"
