"""Devices and positions."""

from api.route import Call
from hub.domain.people import devices as domain_devices
from hub.domain.people import positions
from protocol.rest.devices import Device, DeviceRequest, Devices
from protocol.rest.places import Position, PositionState


async def devices(call: Call[None, None]) -> Devices:
    return Devices(items=await domain_devices.devices(call.domain, call.person.user_id))


async def add_device(call: Call[DeviceRequest, None]) -> Device:
    return await domain_devices.add_device(call.domain, call.person.user_id, call.body)


async def remove_device(call: Call[None, None]) -> None:
    await domain_devices.remove_device(call.domain, call.person.user_id, call.path["id"])


async def locate(call: Call[Position, None]) -> PositionState:
    body = call.body
    moved = await positions.locate(
        call.domain, call.person.user_id, body.lat, body.lng, body.accuracy_m
    )
    return PositionState(region_code=moved.region_code, neighbourhood_code=moved.neighbourhood_code)


async def forget_place(call: Call[None, None]) -> None:
    await positions.forget_place(call.domain, call.person.user_id)
