"""Sessions, devices, positions."""

from api.route import Call
from hub.domain.people import devices as domain_devices
from hub.domain.people import positions, sessions
from hub.plumbing.stores.outbox import Change
from protocol.rest import (
    Device,
    DeviceRequest,
    Devices,
    Position,
    PositionState,
    Session,
    SessionRequest,
)


async def open_session(call: Call[SessionRequest, None]) -> Session:
    d, ip = call.domain, call.address or None
    return await call.change(
        Session,
        lambda change: sessions.open_session(
            d, change, call.service, call.body, user_agent=call.user_agent, ip=ip
        ),
    )


async def devices(call: Call[None, None]) -> Devices:
    return Devices(items=await domain_devices.devices(call.domain, call.person.user_id))


async def add_device(call: Call[DeviceRequest, None]) -> Device:
    user_id = call.person.user_id
    return await call.change(
        Device, lambda change: domain_devices.add_device(change, user_id, call.body)
    )


async def remove_device(call: Call[None, None]) -> None:
    async with call.domain.outbox.change() as change:
        await domain_devices.remove_device(change, call.person.user_id, call.path["id"])


async def locate(call: Call[Position, None]) -> PositionState:
    d, user_id, at = call.domain, call.person.user_id, call.body

    async def move(change: Change) -> PositionState:
        moved = await positions.locate(d, change, user_id, at.lat, at.lng, at.accuracy_m)
        return PositionState(
            region_code=moved.region_code, neighbourhood_code=moved.neighbourhood_code
        )

    return await call.change(PositionState, move)


async def forget_place(call: Call[None, None]) -> None:
    async with call.domain.outbox.change() as change:
        await positions.forget_place(call.domain, change, call.person.user_id)
