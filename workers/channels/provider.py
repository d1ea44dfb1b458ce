"""The providers of one worker: who serves whom, and the one send, each behind its own breaker."""

from collections.abc import Iterator, Sequence
from importlib import import_module

import aiohttp

from hub.domain.rules.kinds import Channel
from hub.plumbing.life.clock import Clock, SystemClock
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.product import Channels
from hub.plumbing.telemetry.metrics import PROVIDER_DURATION
from hub.plumbing.telemetry.trace import calling
from workers.channels.breaker import Breaker
from workers.channels.message import Message, Recipient, Sender
from workers.channels.outcome import Outcome
from workers.channels.refusals import Refusals
from workers.channels.table import PROVIDERS, Opening, ProviderRow


class Provider:
    """One row, opened."""

    def __init__(
        self, row: ProviderRow, sender: Sender, breaker: Breaker, timeout_s: float
    ) -> None:
        self.row = row
        self.sender = sender
        self.breaker = breaker
        self.timeout_s = timeout_s
        self._refusals = Refusals(row.name)
        self._took = PROVIDER_DURATION.labels(provider=row.name)

    async def send(self, to: Recipient, message: Message) -> Outcome:
        """Hand over one message, once; Blocked while the breaker is open."""
        return await self.breaker.call(lambda: self._send(to, message))

    async def _send(self, to: Recipient, message: Message) -> Outcome:
        with calling(f"send {self.row.name}") as call, self._took.time():
            outcome = await self.sender.send(to, message)
            call.note({"outcome": type(outcome).__name__})
        self._refusals.note(outcome)
        return outcome


class Providers:
    """Those that are configured, in the order of the table."""

    def __init__(self, opened: Sequence[Provider]) -> None:
        self._opened = opened

    def __iter__(self) -> Iterator[Provider]:
        return iter(self._opened)

    def named(self, name: str) -> Provider:
        """Raises LookupError for one that is not configured."""
        for one in self._opened:
            if one.row.name == name:
                return one
        raise LookupError(f"{name} is not configured")

    def has(self, channel: Channel) -> bool:
        return any(one.row.channel == channel for one in self._opened)

    def serving(self, channel: Channel, to: Recipient) -> Provider | None:
        """Whom to ask for this recipient; None where nobody serves such a device."""
        for one in self._opened:
            if one.row.channel == channel and one.row.serves(to.platform, to.environment):
                return one
        return None

    def blocked_s(self, channel: Channel) -> float:
        """Seconds until somebody of this channel may be asked; 0 when somebody may."""
        waits = [one.breaker.blocked_s() for one in self._opened if one.row.channel == channel]
        return min(waits, default=0.0)

    def timeout_s(self, channel: Channel) -> float:
        """The longest that one of the channel's providers may take; 0 without any."""
        times = [one.timeout_s for one in self._opened if one.row.channel == channel]
        return max(times, default=0.0)


async def open_providers(life: Lifecycle, part: Channels, clock: Clock | None = None) -> Providers:
    """A provider's own library is loaded only where it is configured.

    Raises ValueError (CredentialsError, MailSettingsError) for settings that cannot be used.
    """
    session = await life.enter("provider connections", aiohttp.ClientSession())
    opened = []
    for row in PROVIDERS:
        if not row.configured(part):
            continue
        timeout_s = row.timeout_ms(part) / 1000
        folder = import_module(f"workers.channels.{row.name}.sender")
        sender: Sender = folder.open_sender(
            Opening(part, session, clock or SystemClock(), timeout_s)
        )
        life.on_stop(row.name, sender.close)
        breaker = Breaker(row.name, part.breaker_errors, part.breaker_reset_ms / 1000)
        opened.append(Provider(row, sender, breaker, timeout_s))
    return Providers(opened)
