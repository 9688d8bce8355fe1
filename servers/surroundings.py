"""What a server process is told about where it runs, besides its options: its version and its peers.

It decides how `LUCID_PEERS` is read (a JSON object of service name → URL, set by the launcher). It does not
know what a peer is good for.
"""

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from servers.errors import BadSettings

PEERS_VARIABLE: Final = "LUCID_PEERS"
CHILD_VARIABLE: Final = "LUCID_CHILD"
_DISTRIBUTION: Final = "lucid-launch"


def read_version() -> str:
    """Return the version of the installed distribution, or `0+checkout` when run from files alone."""
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return "0+checkout"


def read_peers(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the URLs of the stack's other services by name; empty when run alone. Raises `BadSettings`."""
    text = environ.get(PEERS_VARIABLE) or "{}"
    try:
        peers = json.loads(text)
    except ValueError as error:
        raise BadSettings(f"{PEERS_VARIABLE} is not JSON: {error}", where="the environment") from error
    if not isinstance(peers, dict) or not all(isinstance(url, str) for url in peers.values()):
        raise BadSettings(
            f"{PEERS_VARIABLE} must be an object of service names and URLs", where="the environment"
        )
    return peers


def read_child(environ: Mapping[str, str]) -> str | None:
    """Return the name that the launcher gave this process, such as `inference.1`; None when run alone."""
    return environ.get(CHILD_VARIABLE) or None
