"""`make show WHAT=operate`: running it."""

from typing import Final

from hub.commands.passport import measure
from hub.commands.plan import Passport
from tests.show import Item, Verdict

WITHIN: Final = 0.2
SMALL, LARGE, EVENTS = 500, 2000, 200


async def sizing() -> Verdict:
    """What a passport of 500 sockets says of 2,000, and what those take in the same run."""
    passport, found = await measure(SMALL, EVENTS), await measure(LARGE, EVENTS)
    pairs = {
        "RSS": (memory(passport, LARGE), memory(found, LARGE), "MiB"),
        "a delivery": (passport.delivery_us, found.delivery_us, "us"),
    }
    off = {name: said / seen - 1 for name, (said, seen, _) in pairs.items()}
    figures = ", ".join(
        f"{name} predicted {said:.1f} {unit}, seen {seen:.1f} ({off[name]:+.0%})"
        for name, (said, seen, unit) in pairs.items()
    )
    return Verdict(max(map(abs, off.values())) <= WITHIN, figures)


def memory(passport: Passport, sockets: int) -> float:
    """MiB of a node with so many."""
    return passport.base_mib + sockets * passport.socket_kib / 1024


ITEMS = [Item("6", f"{LARGE} sockets predicted from {SMALL}, within {WITHIN:.0%}", sizing)]
