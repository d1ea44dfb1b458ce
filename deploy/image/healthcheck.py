#!/usr/bin/env python3
"""`healthcheck [hub|api]`: exit code 0 when this container's role is alive, 1 when it is not.

Without a role it asks METRICS_PORT, where every role answers. Liveness, not readiness (S1-18): a
container must not be replaced because a store is away.
"""

import http.client
import os
import sys

PORTS = {"hub": ("PORT", 3001), "api": ("API_PORT", 3003), "": ("METRICS_PORT", 9090)}
TIMEOUT_S = 2.5
"""Under the 3 s that the image gives it."""


def is_alive(role: str) -> bool:
    """Whether GET /health/live answers 200 on the loopback interface.

    Raises KeyError for a role that has no door of its own.
    """
    name, default = PORTS[role]
    port = int(os.environ.get(name) or default)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    role = sys.argv[1] if len(sys.argv) > 1 else ""
    if role not in PORTS:
        sys.exit("healthcheck [hub|api]")
    sys.exit(0 if is_alive(role) else 1)
