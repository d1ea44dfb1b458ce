"""The namespaces where people may connect: a file and a row each."""

from collections.abc import Mapping
from typing import Final

from hub.sockets.context import Namespace
from hub.sockets.namespaces.chat import CHAT
from hub.sockets.namespaces.main import MAIN
from hub.sockets.namespaces.streaming import STREAMING

SERVED: Final[Mapping[str, Namespace]] = {row.name: row for row in (MAIN, CHAT, STREAMING)}
"""By name. The cluster counts servers by namespace, so only these are heard there."""
