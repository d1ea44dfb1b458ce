"""`make show WHAT=operate`: running it."""

from typing import Final

from hub.commands.passport import measure
from hub.commands.plan import Passport
from tests.deploy.proxies import NGINX
from tests.deploy.tree import program
from tests.show import Item, Verdict
from tests.show.commits import commits
from tests.show.engine_before import untraced
from tests.show.image import image
from tests.show.live_prometheus import every_panel
from tests.show.main_job import pytest_passes
from tests.show.stores import fresh_stores, heart_on
from tests.stories.rehearsal import Plan, rehearse

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


def manifests() -> Verdict:
    """What is rendered and validated here, and what only by its structure for want of a program."""
    verdict = pytest_passes(
        "tests/deploy", "--deselect=tests/deploy/test_backup.py", "-p", "no:randomly"
    )
    wanted = ("nginx", "haproxy", "pgbouncer", "promtool", "helm", "terraform", "shellcheck")
    missing = [name for name in wanted if program(name) is None]
    said = f"; not here: {', '.join(missing)}" if missing else ""
    return Verdict(verdict.passed, verdict.figures + said)


async def release() -> Verdict:
    """Blue, green and blue again under 2,000 sockets and 100 calls a second."""
    if NGINX is None:
        return Verdict(False, "no nginx on this machine")
    async with fresh_stores() as stores, heart_on(stores) as domain:
        result = await rehearse(domain, *stores, Plan())
    return Verdict(result.clean, str(result))


def backups() -> Verdict:
    return pytest_passes("tests/deploy/test_backup.py")


def alerts() -> Verdict:
    if program("promtool") is None:
        return Verdict(False, "no promtool on this machine (Debian's prometheus has it)")
    return pytest_passes("tests/deploy/test_observability.py")


def traces() -> Verdict:
    return pytest_passes(
        "tests/workers/test_traces.py", "tests/hub/plumbing/http/test_reporting.py"
    )


ITEMS = [
    Item("1", "every manifest", manifests),
    Item("2", "a release and its way back", release),
    Item("3", "backup, destroy, restore", backups),
    Item("4", "each alert fires and names its runbook", alerts),
    Item("4b", "each dashboard, by a Prometheus that scrapes", every_panel),
    Item("5", "one question is one trace", traces),
    Item("5b", "tracing that is off costs nothing in S1 and S6", untraced),
    Item("6", f"{LARGE} sockets predicted from {SMALL}, within {WITHIN:.0%}", sizing),
    Item("6b", "changes a second, with NOTIFY and without", commits),
    Item("7", "the image, built and run without Docker", image),
]
