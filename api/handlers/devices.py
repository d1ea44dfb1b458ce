"""A person's devices."""

from api.route import Call
from hub.domain.people import devices
from protocol.rest.devices import Device, DeviceRequest, Devices, DeviceTest, WebKey


async def listed(call: Call[None, None]) -> Devices:
    """Your devices."""
    return Devices(items=await devices.devices(call.domain, call.person.user_id))


async def add(call: Call[DeviceRequest, None]) -> Device:
    """Register a device for push; a known token moves to you."""
    d, user_id = call.domain, call.person.user_id
    return await call.change(
        Device, lambda change: devices.add_device(d, change, user_id, call.body)
    )


async def remove(call: Call[None, None]) -> None:
    """Forget a device."""
    async with call.domain.outbox.change() as change:
        await devices.remove_device(change, call.person.user_id, call.path["id"])


async def test(call: Call[None, None]) -> DeviceTest:
    """Push to one device of yours, to see that it arrives."""
    user_id, id = call.person.user_id, call.path["id"]
    return await call.change(DeviceTest, lambda change: devices.test_device(change, user_id, id))


async def web_key(call: Call[None, None]) -> WebKey:
    """The key a browser subscribes with for Web Push."""
    return WebKey(public_key=call.domain.policy.web_key)
