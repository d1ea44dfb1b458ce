"""A person's devices."""

from api.route import Call
from hub.domain.people import devices
from protocol.rest.devices import Device, DeviceRequest, Devices


async def listed(call: Call[None, None]) -> Devices:
    """Your devices."""
    return Devices(items=await devices.devices(call.domain, call.person.user_id))


async def add(call: Call[DeviceRequest, None]) -> Device:
    """Register a device for push; a known token moves to you."""
    user_id = call.person.user_id
    return await call.change(Device, lambda change: devices.add_device(change, user_id, call.body))


async def remove(call: Call[None, None]) -> None:
    """Forget a device."""
    async with call.domain.outbox.change() as change:
        await devices.remove_device(change, call.person.user_id, call.path["id"])
