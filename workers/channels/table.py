"""The providers: one row each. A new one is a row here, a folder beside, and its settings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import aiohttp

from hub.domain.rules.kinds import Channel
from hub.plumbing.life.clock import Clock
from hub.plumbing.settings.product import Channels

ANY: Final = ("production", "sandbox")


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """`name` is its folder, its label in metrics and its name in logs.

    `needs`: the settings (fields of Channels) without which it is not there. `platforms` and
    `environments`: the devices it serves; none for a channel that has no devices. `timeout_ms`: the
    whole time one send may take. `retracts`: it carries a silent message that takes back what an
    earlier one with the same collapse id showed.
    """

    name: str
    channel: Channel
    needs: tuple[str, ...]
    timeout_ms: Callable[[Channels], int]
    platforms: tuple[str, ...] = ()
    environments: tuple[str, ...] = ANY
    retracts: bool = False

    def configured(self, part: Channels) -> bool:
        return all(getattr(part, need) for need in self.needs)

    def serves(self, platform: str, environment: str) -> bool:
        if not self.platforms:
            return True
        return platform in self.platforms and environment in self.environments


PROVIDERS: Final = (
    ProviderRow(
        name="apns",
        channel=Channel.PUSH,
        needs=("apns_key_file", "apns_key_id", "apns_team_id", "apns_topic"),
        timeout_ms=lambda part: part.push_timeout_ms,
        platforms=("ios",),
        retracts=True,
    ),
    ProviderRow(
        name="webpush",
        channel=Channel.PUSH,
        needs=("vapid_private_key", "vapid_subject"),
        timeout_ms=lambda part: part.push_timeout_ms,
        platforms=("web",),
    ),
    ProviderRow(
        name="fcm",
        channel=Channel.PUSH,
        needs=("fcm_credentials_file",),
        timeout_ms=lambda part: part.push_timeout_ms,
        platforms=("android", "ios"),
        retracts=True,
    ),
    ProviderRow(
        name="kakao",
        channel=Channel.KAKAO,
        needs=("kakao_message_url", "kakao_message_token"),
        timeout_ms=lambda part: part.push_timeout_ms,
    ),
    ProviderRow(
        name="smtp",
        channel=Channel.EMAIL,
        needs=("smtp_url",),
        timeout_ms=lambda part: part.mail_timeout_ms,
    ),
)
"""Of those that serve a device the first one that is configured is asked."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a folder's `open_sender` is given. `session` (HTTP/1.1) is shared, and not its own."""

    settings: Channels
    session: aiohttp.ClientSession
    clock: Clock
    timeout_s: float
