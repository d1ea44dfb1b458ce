"""What else the contract holds, section by section: tables, commands, rooms, jobs, closed lists."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from hub.commands.cli import app
from hub.domain import intake
from hub.domain.people.sessions import ALL_SCOPES
from hub.domain.rooms import ROOM_KINDS
from hub.domain.rules.reasons import Reason
from hub.plumbing.settings.settings import Settings, variables
from hub.plumbing.stores import outbox
from protocol.errors import Code
from protocol.names import HIDDEN_ROOMS
from protocol.web_push import BROWSERS_HOSTS
from workers import consumer, monitor
from workers.channels import push
from workers.channels.message import Message
from workers.schedules import SCHEDULES

CONTRACT: Final = json.loads(Path(__file__).with_name("contract.json").read_text())
TABLES: Final[dict[str, dict[str, Any]]] = {row["name"]: row for row in CONTRACT["tables"]}

SHORT: Final = {
    "bool": "boolean",
    "float8": "double precision",
    "int": "integer",
    "time": "time without time zone",
    "timestamptz": "timestamp with time zone",
}
"""How the page writes the types that PostgreSQL writes out."""

OURS: Final = {
    "deliveries": {"retracted_at"},  # its phone was told to take it back
    "notifications": {"words", "channels"},  # the other languages; what a service chose
    "questions": {"closed_at", "edited_at", "like_count", "words"},  # late news; popularity; search
    "refresh_tokens": {"token_hash"},  # whoever reads the table cannot log in
}
"""Columns beside those of the page, and what for."""

MAY_BE_NULL: Final = {
    "point_transactions": {"event_id"},  # accepted over REST, not by an event
    "regions": {"lat_min", "lat_max", "lng_min", "lng_max"},  # `default` is everywhere else
}
"""Columns for which the page does not say so."""


def in_full(column: dict[str, Any]) -> str:
    """A column without a type on the page is a time, and one that says by whom an id."""
    kind: str = column["type"] or ("text" if column["name"].endswith("_by") else "timestamptz")
    base = kind.removesuffix("[]")
    return SHORT.get(base, base) + kind[len(base) :]


@pytest.mark.parametrize("name", sorted(TABLES))
async def test_a_table_has_the_columns_of_the_page(name: str, database_url: str) -> None:
    """With their types, whether they may be null, and the primary key."""
    conn = await asyncpg.connect(database_url)
    try:
        rows = await conn.fetch(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type, NOT a.attnotnull AS n,"
            " coalesce(a.attnum = ANY(i.indkey), false) AS key FROM pg_attribute a"
            " LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary"
            " WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped",
            name,
        )
    finally:
        await conn.close()
    found = {row["attname"]: (row["type"], row["n"], row["key"]) for row in rows}
    told = {
        one["name"]: (
            in_full(one),
            one["null"] or one["name"] in MAY_BE_NULL.get(name, ()),
            one["primary_key"],
        )
        for one in TABLES[name]["columns"]
    }
    assert {key: found[key] for key in found if key not in OURS.get(name, ())} == told


def names(section: str, column: str) -> set[str]:
    return {
        name for row in CONTRACT[section] for name in re.findall(r"`dongne ([\w-]+)`", row[column])
    }


def test_every_command_of_the_page_is_there() -> None:
    there = {one.name or one.callback.__name__ for one in app.registered_commands if one.callback}
    assert names("commands", "Command") | names("processes", "Process") <= there
    assert there - names("commands", "Command") - names("processes", "Process") == {"key"}


def test_the_closed_lists_are_those_of_the_page() -> None:
    assert {str(one) for one in Reason} == set(CONTRACT["explain_reasons"])
    assert {str(one) for one in Code} == set(CONTRACT["errors"])
    assert set(ALL_SCOPES) == set(CONTRACT["scopes"])


def test_the_kinds_of_rooms_are_those_of_the_page() -> None:
    kinds = {
        kind: row["Service broadcast"] == "never"
        for row in CONTRACT["rooms"]
        for kind in re.findall(r"(\w+:)\{", row["Room"])
    }
    assert set(kinds) == {*ROOM_KINDS, *HIDDEN_ROOMS}
    assert {kind for kind, never in kinds.items() if never} == set(HIDDEN_ROOMS)


BY_ENVIRONMENT: Final = {
    "DATABASE_DIRECT_URL": "",  # then DATABASE_URL
    "REDIS_CACHE_URL": "",  # then REDIS_URL
    "WEBPUSH_HOSTS": ",".join(BROWSERS_HOSTS),
}
"""Defaults that the page says in words, beside those that depend on the environment."""

STANDARD: Final = {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"}
"""Named by OpenTelemetry, and the same wherever spans are sent."""

NO_VARIABLE: Final = {
    "NAME_FILE",  # how a secret may be given
    "QUEUE_ANALYTICS_RATE",  # the page has none: such jobs ask nobody outside
}


def test_every_variable_of_the_page_is_there_with_its_default() -> None:
    there = {row.name: row for row in variables()}
    told = {row["name"]: row for row in CONTRACT["configuration"]}
    assert set(told) - set(there) == NO_VARIABLE
    assert set(there) - set(told) == STANDARD
    for name, row in there.items():
        if row.default is not None and name in told:
            expected = BY_ENVIRONMENT.get(name, told[name]["default"] or "")
            assert (row.default or "") == expected, name
        if name in told:
            assert told[name]["alias"] in (None, *row.aliases), name


def test_queues_have_the_figures_of_the_page() -> None:
    """Seats of a process, rate a minute over all workers, tries."""
    told = {}
    for row in CONTRACT["jobs"]:
        queue = re.fullmatch(r"(\w+) \((?:high|medium|low).*\)", row["Queue or schedule"])
        if queue:
            figures = row["Concurrency, rate"]
            rate = re.search(r"(\d+) a minute", figures)
            seats = re.match(r"\d+", figures)
            assert seats
            told[queue[1]] = (int(seats[0]), rate and int(rate[1]), int(row["Attempts"]))
    queues = Settings.load({"APP_ENV": "development"}, complete=False).jobs.queues()
    found = {name: (row.concurrency, row.rate, row.tries) for name, row in queues.items()}
    assert {name: found[name] for name in told} == told


def test_schedules_are_those_of_the_page() -> None:
    figures = Settings.load({"APP_ENV": "development"}, complete=False).jobs
    told = {row["Queue or schedule"]: row["Concurrency, rate"] for row in CONTRACT["jobs"]}
    zone = figures.scheduler_tz
    assert told["digest"] == f"{SCHEDULES['digest'].cron(figures)} {zone}"
    for name in ("roll-up", "retention"):
        one = SCHEDULES[name]
        assert told["roll-up and retention"] == (
            f"{one.cron(figures)} {zone}, at most {one.limit_s:.0f} s"
        )
    assert SCHEDULES["trending"].cron(figures) == "0 * * * *", told["trending"]
    assert told["dependency monitor"] == f"every {monitor.EVERY_S:.0f} s"
    assert f"batch {consumer.BATCH}" in told["event consumer"]
    assert f"batch {outbox.SWEEP_BATCH}" in told["outbox sweeper"]
    assert intake.MAX_TRIES == 5


def test_a_push_has_the_data_of_the_page() -> None:
    told = next(row["Holds"] for row in CONTRACT["push_and_mail"] if row["Part"] == "push data")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    whole = Message(
        notification_id="n",
        delivery_id="d",
        kind="k",
        locale="ko",
        title="t",
        body="b",
        unread=1,
        url="https://x.example",
        collapse_id="q",
        created_at=at,
        question_id="q",
        answer_id="a",
        deadline_at=at,
    )
    names = re.sub(r"\(.*?\)", "", told.partition(";")[0]).replace("?", "").split(",")
    assert set(push.push_data(whole)) == {name.strip() for name in names}
    assert len(push.topic("question")) == 32


def test_every_section_of_the_contract_is_compared() -> None:
    here = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [
        name
        for name in CONTRACT
        if f'CONTRACT["{name}"]' not in here and f'names("{name}"' not in here
    ] == []
