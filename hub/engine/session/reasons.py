"""Why a connection ended: the `reason` of a disconnect handler, and the label of a counter.

The first three are final (a DISCONNECT was said); whatever else ended it, the client comes back
and may recover.
"""

from typing import Final

CLIENT_DISCONNECT: Final = "client disconnect"
SERVER_DISCONNECT: Final = "server disconnect"
REFUSED: Final = "refused"

TRANSPORT_CLOSE: Final = "transport close"
TRANSPORT_ERROR: Final = "transport error"
PING_TIMEOUT: Final = "ping timeout"
CONNECT_TIMEOUT: Final = "connect timeout"
SLOW_CONSUMER: Final = "slow consumer"
BAD_PACKET: Final = "bad packet"
REFUSED_TOO_OFTEN: Final = "refused too often"
SHUTTING_DOWN: Final = "server shutting down"

FINAL: Final = frozenset((CLIENT_DISCONNECT, SERVER_DISCONNECT, REFUSED))
