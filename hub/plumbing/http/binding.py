"""The one way to take a port."""

import socket
from typing import Any, cast


def bound_socket(host: str | None, port: int, *, shared: bool) -> socket.socket:
    """A TCP socket at an address (port 0: any), not yet listening; `shared` with other processes
    that ask for it too (SO_REUSEPORT, socket(7)). Raises OSError.

    What is set on it before it listens is inherited by every accepted socket, at no cost for each.
    """
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(cast(Any, address))
    except OSError:
        sock.close()
        raise
    return sock
