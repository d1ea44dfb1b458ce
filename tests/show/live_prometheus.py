"""The dashboards of `deploy`, asked of a real Prometheus that scrapes a hub, an api and a worker
while they work.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import yaml

from hub.embedded.supervisor import free_port
from tests.deploy.test_observability import queries
from tests.deploy.tree import DEPLOY, program, read_yaml
from tests.show import Verdict
from tests.show.main_job import installation
from tests.stories.latency import PLACE, settle_local, token_of
from tests.stories.processes import Door
from tests.stories.stack import TIMERS, Stack

READY_S: Final = 30.0
ROUNDS: Final = 8
"""Of what people do, one a second: rates need several scrapes."""

QUIET: Final[dict[str, str]] = {
    "engine_refused_total": "nobody was refused",
    "connections_refused_total": "nobody was refused",
    "engine_dropped_total": "no volatile event was dropped",
    "deliveries_total{reason": "nothing was withheld",
    "replica_fallbacks_total": "there is no replica",
    "outbox_dropped_total": "nothing was too late",
    "dongne_backup_success": "no backup was made",
}
"""What a healthy hub without backups has no series of, and why."""


def panels() -> list[tuple[str, str]]:
    """Where it stands and what is asked, of every panel."""
    return [(where, text) for where, text in queries() if ": " in where]


async def every_panel() -> Verdict:
    """Every query parses and answers; none is empty but those of QUIET."""
    if program("prometheus") is None:
        return Verdict(False, "no prometheus on this machine (Debian's package has it)")
    async with installation(**TIMERS) as stack, prometheus(stack) as url:
        await busy(stack)
        async with aiohttp.ClientSession() as http:
            answers = [(where, text, await ask(http, url, text)) for where, text in panels()]
            rules = await get(http, f"{url}/api/v1/rules")
    sick = [rule for group in rules["groups"] for rule in group["rules"] if rule["health"] == "err"]
    wrong = [where for where, text, found in answers if not found and not quiet(text)]
    wrong += [str(rule["name"]) for rule in sick]
    full = sum(bool(found) for _, _, found in answers)
    figures = f"{full} of {len(answers)} queries return series, {len(answers) - full} are quiet"
    return Verdict(not wrong, f"{figures}{'; wrong: ' if wrong else ''}{', '.join(wrong)}")


def quiet(text: str) -> bool:
    return any(name in text for name in QUIET)


async def busy(stack: Stack) -> None:
    """The main job, over and over: asked, told, answered; pushed and mailed to who is away."""
    for name in ("here", "away"):
        await settle_local(stack.domain, name)
    here, away = (stack.service.as_(token_of(stack.domain, name)) for name in ("here", "away"))
    await away.call("POST", "/devices", {"platform": "android", "token": "phone-away"})
    phone = await stack.person(here)
    lat, lng = PLACE
    for number in range(ROUNDS):
        asker = stack.service.as_(token_of(stack.domain, f"asker-{number}"))
        question = await asker.call(
            "POST",
            "/questions",
            {
                "title": f"약국 {number}",
                "content": "연동",
                "urgency": "urgent" if number < 1 else "normal",
                "lat": lat,
                "lng": lng,
            },
        )
        if number == 0:
            await stack.fcm.next_message(READY_S)  # answered sooner, nobody would be woken
        await phone.call("question:join", {"questionId": question["id"]})
        for _ in range(2):  # the second time from the cache
            await asker.call("GET", f"/questions/{question['id']}")
        await (await stack.person(asker)).close()
        helper = stack.service.as_(token_of(stack.domain, f"helper-{number}"))
        await helper.call(
            "POST", "/answers", {"questionId": question["id"], "content": "길 건너편이요."}
        )
        await asyncio.sleep(1)  # what a rate is made of


@asynccontextmanager
async def prometheus(stack: Stack) -> AsyncIterator[str]:
    """Debian's, with the file of `deploy` but for addresses and intervals. It has scraped all."""
    folder, port = stack.folder, free_port()
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8")
    config = yaml.safe_load(text.replace("/etc/prometheus", str(DEPLOY / "prometheus")))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"] = [
        {"targets": [metrics_of(door)], "labels": {"role": door.name}}
        for door in (stack.hub, stack.api, stack.worker)
    ]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    assert read_yaml(file)["rule_files"]
    command = program("prometheus")
    assert command is not None
    process = await asyncio.create_subprocess_exec(
        command,
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await scraped(url, 3)
        yield url
    finally:
        process.terminate()
        await process.wait()


def metrics_of(door: Door) -> str:
    """Where it shows its figures: its own line says so, and a worker has no other door."""
    found = re.search(r"dongne metrics listens on http://(\S+?)(?:\s|/|$)", door.output())
    where = found[1] if found else door.url.removeprefix("http://")
    return where.replace("localhost", "127.0.0.1")


async def scraped(url: str, roles: int) -> None:
    """Until so many roles are up."""
    async with asyncio.timeout(READY_S), aiohttp.ClientSession() as http:
        while True:
            try:
                up = await ask(http, url, "up == 1")
            except aiohttp.ClientError:
                up = []
            if len(up) == roles:
                return
            await asyncio.sleep(0.2)


async def ask(http: aiohttp.ClientSession, url: str, text: str) -> list[Any]:
    """The series of a query. Raises AssertionError where it does not parse."""
    query = text.replace("$__rate_interval", "1m")
    data = await get(http, f"{url}/api/v1/query", query=query)
    return [one for one in data["result"] if one["value"][1] != "NaN"]


async def get(http: aiohttp.ClientSession, url: str, **params: str) -> Any:
    async with http.get(url, params=params) as answer:
        said = await answer.json()
    assert said["status"] == "success", f"{params}: {said.get('error')}"
    return said["data"]
