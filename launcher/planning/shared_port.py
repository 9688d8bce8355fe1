"""One listening socket for several replicas: each holds a copy of it, and a private socket of its own.

Decides that a copy is a duplicate of the one socket and not a socket of its own on the same port
(SO_REUSEPORT): duplicates have one queue of connections, from which whoever accepts takes the next. With a
queue each, the kernel goes on dealing connections to a replica that is stopped or hangs, where they wait for
it, and its end resets them. Knows nothing of who is given which port.
"""

import socket
from collections.abc import Iterable, Mapping

from launcher.configuration.models import Service, child_names
from launcher.planning.prepared import PRIVATE_HOST
from launcher.ports import fits
from launcher.sockets import bind_service

__all__ = ["bind_private", "copies_for", "of_clients", "pick_held"]

Sockets = tuple[socket.socket, ...]


def of_clients(held: Sockets) -> Sockets:
    """Those of a child's sockets that clients connect to, not its private one; `held` itself if all are."""
    found = tuple(one for one in held if _port(one) == _port(held[0]))
    return held if len(found) == len(held) else found


def pick_held(service: Service, held: Mapping[str, Sockets]) -> Sockets:
    """The sockets for clients of the first replica that has some, on a port that the service still allows.

    Where none is allowed any more, those of the first that has any.
    """
    found = [of_clients(held[child]) for child in child_names(service) if held.get(child)]
    port = service.port
    fitting = (one for one in found if port is not None and fits(port, _port(one[0])))
    return next(fitting, found[0] if found else ())


def copies_for(shared: Iterable[socket.socket], own: Sockets) -> Sockets:
    """A copy of each of `shared` for one child, which keeps those of its `own` that are copies already.

    The copies are new descriptors, the caller's to close.
    """
    ours = {(one.family, one.getsockname()): one for one in own}
    return tuple(ours.get((one.family, one.getsockname())) or one.dup() for one in shared)


def bind_private(own: Sockets) -> socket.socket:
    """The private socket of one child: the one among its `own`, or a new one on a free loopback port.

    Raises PortUnavailable when there is no free port.
    """
    had = [one for one in own if _port(one) != _port(own[0])]
    return had[0] if had else bind_service(PRIVATE_HOST, 0)[0]


def _port(one: socket.socket) -> int:
    return int(one.getsockname()[1])
