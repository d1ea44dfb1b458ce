"""What any process may order of sockets anywhere: join and leave rooms, and go, for their tokens.

Requests of the classic adapter as its emitters send them: without a uid, so that every node,
the one that ordered it too, carries them out by hearing its publication (types 2 and 3). Ours say
`hub.keepAsked`, which others pass over; where it is true the person has other automatic rooms, and
what the client asked for itself it keeps. Other orders are obeyed to the letter.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from hub.cluster import scripts
from hub.cluster.line import Line
from protocol.events import Move, Revocation
from protocol.names import MAIN, Channels, Keys
from protocol.redis_requests import encode_revocation

REMOTE_JOIN: Final = 2
REMOTE_LEAVE: Final = 3


async def move(line: Line, channels: Channels, moves: Sequence[Move]) -> None:
    """In order, in one round trip. Raises redis.exceptions.RedisError; repeating does no harm."""
    commands = [
        ("PUBLISH", channels.request(one.namespace), orjson.dumps(order))
        for one in moves
        for order in _orders(one)
    ]
    if commands:
        await line.calls(commands)


def _orders(one: Move) -> list[dict[str, Any]]:
    opts = {"rooms": [one.room], "except": [], "hub": {"keepAsked": one.keep_asked}}
    orders: list[dict[str, Any]] = []
    if one.leave:
        orders.append({"type": REMOTE_LEAVE, "opts": opts, "rooms": list(one.leave)})
    if one.join:
        orders.append({"type": REMOTE_JOIN, "opts": opts, "rooms": list(one.join)})
    return orders


async def revoke(
    line: Line, keys: Keys, channels: Channels, revocations: Sequence[Revocation]
) -> None:
    """What is revoked is remembered and told to every node at one moment. Raises
    redis.exceptions.RedisError; repeating does no harm.
    """
    for one in revocations:
        names = [keys.blacklist(jti) for jti in one.jtis]
        if one.before_ms > 0:
            names.insert(0, keys.revoked(one.user_id))
        told = (channels.request(MAIN), encode_revocation(one))
        await line.run(scripts.REVOKE, names, [f"{one.before_ms:.3f}", one.ttl_s, *told])
