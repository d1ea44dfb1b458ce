"""Events for other services: the stream `events:out`, each event once."""

from collections.abc import Sequence
from typing import Final

import msgspec
from redis.exceptions import NoScriptError

from hub.cluster import scripts
from hub.cluster.line import Command, Line
from protocol.domain_events import Envelope
from protocol.names import Keys

LENGTH: Final = 100_000
"""Entries of the stream, about (MAXLEN ~)."""

REMEMBERED_S: Final = 86_400
"""How long an event's id is: no row of the outbox is published later than that."""


async def tell_services(line: Line, keys: Keys, events: Sequence[Envelope]) -> None:
    """In order, in one round trip; an event that was written before is not written again, whatever
    died or began anew meanwhile. Raises redis.exceptions.RedisError; repeating is safe.
    """
    commands = [_written(keys, event) for event in events]
    try:
        await line.calls(commands)
    except NoScriptError:
        await line.load_scripts()
        await line.calls(commands)


def _written(keys: Keys, event: Envelope) -> Command:
    names = (keys.events_out, keys.published(str(event.event_id)))
    args = (LENGTH, REMEMBERED_S, msgspec.msgpack.encode(event))
    return ("EVALSHA", scripts.EVENT_OUT.sha, len(names), *names, *args)
