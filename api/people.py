"""Sessions, devices, positions."""

from api.route import Call
from hub.domain import members, sessions
from protocol.rest import (
    Device,
    DeviceRequest,
    Devices,
    Position,
    PositionState,
    Session,
    SessionRequest,
    WebKey,
)


async def open_session(call: Call[SessionRequest, None]) -> Session:
    return await sessions.open_session(
        call.domain, call.service, call.body, user_agent=call.user_agent, ip=call.address or None
    )


async def devices(call: Call[None, None]) -> Devices:
    return Devices(items=await members.devices(call.domain, call.person.user_id))


async def add_device(call: Call[DeviceRequest, None]) -> Device:
    return await members.add_device(call.domain, call.person.user_id, call.body)


async def remove_device(call: Call[None, None]) -> None:
    await members.remove_device(call.domain, call.person.user_id, call.path["id"])


async def web_key(call: Call[None, None]) -> WebKey:
    return WebKey(public_key=call.domain.policy.web_key)


async def locate(call: Call[Position, None]) -> PositionState:
    body = call.body
    moved = await members.locate(
        call.domain, call.person.user_id, body.lat, body.lng, body.accuracy_m
    )
    return PositionState(region_code=moved.region_code, neighbourhood_code=moved.neighbourhood_code)


async def forget_place(call: Call[None, None]) -> None:
    await members.forget_place(call.domain, call.person.user_id)
