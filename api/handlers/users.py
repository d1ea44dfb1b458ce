"""People: who they are, and how they want to be told."""

from api.route import Call
from hub.domain.people import blocks, preferences, profiles
from protocol.rest.people import Preferences, PreferencesChange, Profile, ProfileChange
from protocol.tokens import Token


async def find(call: Call[None, None]) -> Profile:
    """A person's profile."""
    user_id = call.path["userId"]
    return await profiles.find(call.domain, user_id, own=_is_own(call))


async def change(call: Call[ProfileChange, None]) -> Profile:
    """Change a profile; withdrawing consent to positions deletes yours."""
    d, user_id, own = call.domain, call.path["userId"], _is_own(call) and not call.is_admin
    return await call.change(
        Profile, lambda change: profiles.set_to(d, change, user_id, call.body, own=own)
    )


async def preferences_of(call: Call[None, None]) -> Preferences:
    """How you want to be told."""
    return await preferences.find(call.domain, call.path["userId"])


async def prefer(call: Call[PreferencesChange, None]) -> Preferences:
    """Change how you want to be told; your sockets follow at once."""
    d, user_id = call.domain, call.path["userId"]
    return await call.change(
        Preferences, lambda change: preferences.set_to(d, change, user_id, call.body)
    )


async def block(call: Call[None, None]) -> None:
    """Let nothing pass between you and somebody, either way."""
    d, user_id = call.domain, call.person.user_id
    async with d.outbox.change() as change:
        await blocks.block(d, change, user_id, call.path["id"])


async def unblock(call: Call[None, None]) -> None:
    """Take a block back."""
    async with call.domain.outbox.change() as change:
        await blocks.unblock(change, call.person.user_id, call.path["id"])


def _is_own(call: Call[None, None] | Call[ProfileChange, None]) -> bool:
    return isinstance(call.caller, Token) and call.caller.user_id == call.path["userId"]
