"""A person's devices."""

from api.route import Call
from hub.domain.people import devices
from protocol.rest.devices import Device, DeviceRequest, Devices


async def listed(call: Call[None, None]) -> Devices:
    """Your devices."""
    return Devices(items=await devices.devices(call.domain, call.person.user_id))


async def add(call: Call[DeviceRequest, None]) -> Device:
    """Register a device for push; a known token moves to you."""
    return await devices.add_device(call.domain, call.person.user_id, call.body)


async def remove(call: Call[None, None]) -> None:
    """Forget a device."""
    await devices.remove_device(call.domain, call.person.user_id, call.path["id"])
