"""What must hold after the story, and its figures."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from hub.domain.notifications.delivery import delivery_id
from hub.domain.rules.kinds import Channel
from hub.domain.rules.reasons import Reason
from hub.domain.rules.states import ARRIVED, FINAL
from protocol.mail_address import comparison_key
from tests.stories.wakes.crowd import Device
from tests.stories.wakes.providers import Provider, Seen
from tests.stories.wakes.story import Question, Told

MINUTE_S: Final = 60.0
WITHDRAWN_S: Final = 1.0
"""After an answer nothing of its question leaves any more (product.md, Push and mail)."""

SETTLED_S: Final = 1.0
"""What a provider answered shortly before a worker was killed may have died with it."""

MANY: Final = 200
"""So many people have something dead among them, whatever the seed."""

MOST_DOUBLE: Final = 0.001

LEAST_TOLD: Final = 0.9
"""Of whom a question chose that nobody answered; the others' devices are dead, or the rate was used
up before their turn, and their rows say so."""

TOLD: Final = ("acknowledged", *(f"by {channel}" for channel in Channel))


@dataclass(frozen=True, slots=True)
class Call:
    """A message that was brought, to whom it was addressed, and the row of deliveries it is of."""

    at: float
    provider: Provider
    seen: Seen
    person: str
    row: UUID | None


@dataclass(slots=True)
class Findings:
    """`wrong` says what did not hold; `figures` what was counted."""

    told: Told
    calls: list[Call]
    notifications: dict[tuple[str, str], UUID]
    wrong: list[str] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)

    def holds(self, true: bool, sentence: str) -> None:
        if not true:
            self.wrong.append(sentence)


async def look(told: Told) -> Findings:
    """Everything there is to find. Asks the rows, the providers and the screens."""
    rows = await told.domain.pool.fetch(
        "SELECT user_id, question_id, id FROM notifications WHERE kind = 'question_urgent'"
    )
    notifications = {(row["user_id"], row["question_id"]): row["id"] for row in rows}
    found = Findings(told, list(_calls(told, notifications)), notifications)
    found.holds(len(rows) == len(notifications), "somebody has two alerts of one question")
    for number, question in enumerate(sorted(told.questions, key=lambda q: q.plan.at), 1):
        await _nobody_missed(found, f"question {number}", question)
    await _no_call_after_sent(found)
    _one_attention(found)
    _nothing_late(found)
    await _dead_are_given_up(found)
    _rates(found, "push", ("push", "kakao"), told.plan.rates[0])
    _rates(found, "mail", ("email",), told.plan.rates[1])
    await _no_job_lost(found)
    return found


def _calls(told: Told, notifications: dict[tuple[str, str], UUID]) -> Iterator[Call]:
    people = {address: one.name for one in told.crowd for address in one.addresses}
    devices = {device.address: device.id for device in _devices(told)}
    for provider in told.providers:
        for at, seen in provider.tried():
            person = people[seen.address]
            id = notifications.get((person, seen.question_id))
            row = id and delivery_id(id, Channel(provider.channel), devices.get(seen.address))
            yield Call(at, provider, seen, person, row)


async def _nobody_missed(found: Findings, name: str, question: Question) -> None:
    told = found.told
    found.holds(not question.unheard, f"{name}: {len(question.unheard)} open screens were not told")
    rows = await told.domain.pool.fetch(
        "SELECT r.user_id, n.acknowledged_at, x.id, x.channel, x.status, x.reason, x.attempts"
        " FROM question_recipients r JOIN notifications n ON n.id = r.notification_id"
        " LEFT JOIN deliveries x ON x.notification_id = n.id AND x.channel <> 'socket'"
        " WHERE r.question_id = $1",
        question.id,
    )
    chosen: dict[str, list[Any]] = {}
    for row in rows:
        chosen.setdefault(row["user_id"], []).append(row)
    taken = _taken(found)
    how = Counter(_how(tries, taken) for tries in chosen.values())
    found.holds(bool(chosen), f"{name}: nobody was chosen")
    found.holds(not how["missed"], f"{name}: {how['missed']} people were missed")
    told_by = sum(how[word] for word in TOLD)
    if question.plan.answered is None:
        found.holds(
            told_by >= LEAST_TOLD * len(chosen),
            f"{name}: only {told_by} of {len(chosen)} were told before the deadline",
        )
    words = ", ".join(f"{count} {word}" for word, count in how.most_common())
    shown = sum(question.id in one.shown for one in told.crowd)
    found.figures.append(f"{name}: {len(chosen)} chosen: {words}; on {shown} screens")


def _taken(found: Findings) -> set[UUID]:
    """The rows of what a provider took over."""
    kept = {(one.name, seen) for one in found.told.providers for seen in one.taken()}
    calls = (call for call in found.calls if (call.provider.name, call.seen) in kept)
    return {call.row for call in calls if call.row is not None}


def _how(tries: list[Any], taken: set[UUID]) -> str:
    """How somebody was told, or why not: a row that says sent of what no provider has is a lie, one
    that is not final was forgotten."""
    if tries[0]["acknowledged_at"] is not None:
        return "acknowledged"
    arrived = [row for row in tries if row["status"] in ARRIVED]
    if any(row["status"] not in FINAL for row in tries):
        return "missed"
    if any(row["id"] not in taken for row in arrived):
        return "missed"
    for channel in (Channel.PUSH, Channel.KAKAO, Channel.EMAIL):
        if any(row["channel"] == channel for row in arrived):
            return f"by {channel}"
    reasons = {row["reason"] for row in tries} & set(Reason)
    return f"not told ({'+'.join(sorted(reasons))})" if reasons else "missed"


async def _no_call_after_sent(found: Findings) -> None:
    """Of the same notification to the same device or address; clearing a screen is no push."""
    rows = await found.told.domain.pool.fetch("SELECT delivery, at FROM seen_sent")
    sent = {row["delivery"]: row["at"].timestamp() for row in rows}
    loud = [call for call in found.calls if not call.seen.silent]
    after = sum(call.row in sent and call.at > sent[call.row] for call in loud)
    found.holds(after == 0, f"{after} provider calls after a row that said sent")
    found.holds(bool(loud) and bool(sent), "no provider was called")
    twice = sum(
        number - 1
        for provider in found.told.providers
        for number in Counter(seen for seen in provider.taken() if not seen.silent).values()
    )
    faults = sum(weather.faults for weather in found.told.weathers.values())
    found.figures.append(
        f"{len(loud)} calls ({faults} met a fault), {len(sent)} sent, {after} after sent,"
        f" {twice} taken twice before their row"
    )


def _one_attention(found: Findings) -> None:
    """Whoever has acknowledged on the socket is called for by nobody any more."""
    kept = {(one.name, id): at for one in found.told.crowd for id, at in one.acknowledged.items()}
    grace_s = found.told.plan.grace_s
    double = [
        call.at - kept[call.person, call.seen.question_id]
        for call in found.calls
        if not call.seen.silent
        and call.at - grace_s > kept.get((call.person, call.seen.question_id), float("inf"))
    ]
    found.holds(bool(kept), "nobody acknowledged")
    share = len(double) / max(1, len(kept))
    late = f", up to {max(double):.2f} s late" if double else ""
    found.holds(share < MOST_DOUBLE, f"{len(double)} double attentions{late}")
    found.figures.append(f"double attention {len(double)} of {len(kept)} ({share:.2%}{late})")


def _nothing_late(found: Findings) -> None:
    over = {
        question.id: question.over_at
        + (WITHDRAWN_S + found.told.plan.grace_s if question.plan.answered else 0)
        for question in found.told.questions
    }
    loud = [call for call in found.calls if not call.seen.silent]
    late = sum(call.at > over[call.seen.question_id] for call in loud)
    found.holds(late == 0, f"{late} calls about a question that was over")


async def _dead_are_given_up(found: Findings) -> None:
    """Every device and mailbox that its provider called dead, no other one, and nobody calls them
    from then on."""
    told = found.told
    dead = {one.token: one.address for one in _devices(told) if one.dead}
    dead |= {comparison_key(one.email): one.email for one in told.crowd if one.dead_mailbox}
    rows = await told.domain.pool.fetch(
        "SELECT token AS known_as, disabled_at AS at FROM devices WHERE disabled_at IS NOT NULL"
        " UNION ALL SELECT address, created_at FROM suppressions"
    )
    given_up = {row["known_as"]: row["at"].timestamp() for row in rows}
    living = given_up.keys() - dead.keys()
    found.holds(not living, f"{len(living)} living devices or mailboxes were given up")
    called_dead = {
        address
        for weather in told.weathers.values()
        for address, at in weather.called_dead
        if not any(0 <= killed - at < SETTLED_S + told.plan.grace_s for killed in told.killed)
    }
    kept = [key for key in dead.keys() - given_up.keys() if dead[key] in called_dead]
    found.holds(not kept, f"{len(kept)} dead devices or mailboxes were kept")
    if told.plan.people >= MANY:
        found.holds(bool(called_dead), "nothing dead was met")
    until = {dead[key]: at for key, at in given_up.items() if key in dead}
    slack_s = SETTLED_S + told.plan.grace_s
    after = sum(call.at > until.get(call.seen.address, call.at) + slack_s for call in found.calls)
    found.holds(after == 0, f"{after} calls to what was known to be dead")
    found.figures.append(f"{len(given_up)} dead devices and mailboxes given up, {len(kept)} kept")


def _devices(told: Told) -> Iterator[Device]:
    return (device for one in told.crowd for device in one.devices)


def _rates(found: Findings, word: str, channels: tuple[str, ...], rate: int) -> None:
    """People, not devices: a try of one notification is one, however many phones it rings."""
    first: dict[tuple[str, str, str, bool, int], float] = {}
    times: Counter[tuple[str, Seen]] = Counter()
    for call in found.calls:
        if call.provider.channel in channels:
            which = call.provider.name, call.seen
            times[which] += 1
            question, silent = call.seen.question_id, call.seen.silent
            key = (call.provider.channel, call.person, question, silent, times[which])
            first[key] = min(call.at, first.get(key, call.at))
    busiest = _busiest(sorted(first.values()))
    found.holds(busiest <= rate, f"{busiest} {word} tries in a minute, over {rate}")
    found.figures.append(f"{len(first)} {word} tries, {busiest} of {rate} in the busiest minute")


def _busiest(moments: list[float]) -> int:
    """The most of them within any minute."""
    begin = most = 0
    for end, moment in enumerate(moments):
        while moment - moments[begin] >= MINUTE_S:
            begin += 1
        most = max(most, end - begin + 1)
    return most


async def _no_job_lost(found: Findings) -> None:
    """Each has ended or is held; those that remain are alarms of later."""
    told, pool = found.told, found.told.domain.pool
    late = await pool.fetch(
        "SELECT entrypoint, count(*) FROM pgqueuer WHERE status = 'picked'"
        " OR status = 'queued' AND execute_after < now() GROUP BY 1 ORDER BY 2 DESC"
    )
    lost = await pool.fetchval(
        "SELECT count(*) FROM seen_jobs s WHERE ended IS NULL"
        " AND NOT EXISTS (SELECT FROM pgqueuer j WHERE j.id = s.id)"
    )
    ended = [row["ended"] for row in await pool.fetch("SELECT ended FROM seen_jobs")]
    still = ", ".join(f"{count} {name}" for name, count in late)
    found.holds(told.drained_s is not None, f"jobs still wait: {still}")
    found.holds(lost == 0, f"{lost} jobs were lost")
    found.holds(bool(told.killed), "no worker was killed")
    emptied = "never" if told.drained_s is None else f"after {told.drained_s:.0f} s"
    found.figures.append(
        f"{len(told.killed)} workers killed; {len(ended)} jobs, {lost} lost,"
        f" {ended.count('failed')} held; queues empty {emptied}"
    )
