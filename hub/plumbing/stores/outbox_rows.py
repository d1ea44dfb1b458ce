"""What a row of the outbox holds, as msgpack."""

from collections.abc import Sequence

import msgspec

from protocol.domain_events import Envelope
from protocol.events import Emit, Move, Revocation

Told = Emit | Move | Revocation | Envelope
"""What an outbox row holds: an event to rooms, a move of sockets, tokens that are revoked, an event
for other services."""


class _EmitRow(msgspec.Struct, tag="emit"):
    emit: Emit


class _MoveRow(msgspec.Struct, tag="move"):
    move: Move


class _RevocationRow(msgspec.Struct, tag="revocation"):
    revocation: Revocation


class _EventRow(msgspec.Struct, tag="event"):
    envelope: Envelope


class _EventsRow(msgspec.Struct, tag="events"):
    envelopes: list[Envelope]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_EmitRow | _MoveRow | _RevocationRow | _EventRow | _EventsRow)


def encode(told: Told) -> bytes:
    if isinstance(told, Emit):
        return _encoder.encode(_EmitRow(told))
    if isinstance(told, Move):
        return _encoder.encode(_MoveRow(told))
    if isinstance(told, Revocation):
        return _encoder.encode(_RevocationRow(told))
    return _encoder.encode(_EventRow(told))


def encode_many(events: list[Envelope]) -> bytes:
    return _encoder.encode(_EventsRow(events))


def decode(payload: bytes) -> Sequence[Told]:
    """Raises msgspec.MsgspecError."""
    row = _decoder.decode(payload)
    match row:
        case _EmitRow():
            return (row.emit,)
        case _MoveRow():
            return (row.move,)
        case _RevocationRow():
            return (row.revocation,)
        case _EventRow():
            return (row.envelope,)
    return list(row.envelopes)
