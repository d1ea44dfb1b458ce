"""What jobs read and write about deliveries: those that run at once share each statement."""

from collections.abc import Sequence

from hub.domain.context import Domain
from hub.domain.notifications import delivery, steps
from hub.domain.notifications.delivery import Handed
from hub.domain.notifications.orders import Order
from hub.domain.notifications.steps import BUSY, Busy, Look
from hub.domain.rules.states import DeliveryStatus
from hub.plumbing.life.together import Together
from workers.ending import is_away


class Books:
    """Of one worker process."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain

        async def take(looks: Sequence[Look]) -> list[Order | Busy | None]:
            return await steps.take_steps_of(domain, looks)

        async def settle(sent: Sequence[Handed]) -> list[bool]:
            return await delivery.settle_sent(domain, sent)

        self._take = Together(take, is_away)
        self._settle = Together(settle, is_away)

    async def take_steps(self, look: Look) -> Order | None:
        """See `steps.take_steps`."""
        found = await self._take(look)
        return await steps.take_steps(self.domain, look) if found is BUSY else found

    async def settle_sent(self, handed: Handed) -> bool:
        """See `delivery.settle`; whether the next look is enqueued with it."""
        if await self._settle(handed):
            return handed.check_at is not None
        await delivery.settle(
            self.domain,
            handed.order,
            handed.target,
            DeliveryStatus.SENT,
            provider_message_id=handed.provider_message_id,
        )
        return False
