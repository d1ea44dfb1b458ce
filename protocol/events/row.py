"""What one row of the tables of events says, and the forms that several nouns share."""

from dataclasses import dataclass
from typing import Literal

from protocol.names import MAIN
from protocol.payload import Message, Request

Class = Literal["alert", "room", "volatile", "-"]
"""alert: recoverable, urgent lane; room: recoverable; volatile: newest by key wins, dropped first;
-: to one socket, never recovered."""


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """What clients send in one namespace, what they get back beside `ok: true`, and which limit
    counts it.
    """

    name: str
    payload: type[Request]
    ack: type[Message]
    namespace: str = MAIN
    limit: Literal["default", "chat"] = "default"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """What the server sends: `room` says in words who hears it, `klass` what happens to those who
    cannot hear it at once.
    """

    name: str
    payload: type[Message]
    room: str
    klass: Class
    namespace: str = MAIN


class Empty(Request):
    """Nothing is asked for but the act itself."""


class Ok(Message):
    """Nothing is given back but `ok: true`."""


class Count(Message):
    count: int
