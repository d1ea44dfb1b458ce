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


class _EventsRow(msgspec.Struct, tag="events"):
    envelopes: list[Envelope]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_EmitRow | _MoveRow | _RevocationRow | _EventsRow)


def encode(told: Told) -> bytes:
    if isinstance(told, Emit):
        return _encoder.encode(_EmitRow(told))
    if isinstance(told, Move):
        return _encoder.encode(_MoveRow(told))
    if isinstance(told, Revocation):
        return _encoder.encode(_RevocationRow(told))
    return encode_many([told])


def encode_many(events: list[Envelope]) -> bytes:
    return _encoder.encode(_EventsRow(events))


def decode(payload: bytes) -> Sequence[Told]:
    """Raises msgspec.MsgspecError."""
    row = _decoder.decode(payload)
    if isinstance(row, _EventsRow):
        return row.envelopes
    return (getattr(row, row.__struct_fields__[0]),)  # every other one holds one thing
