"""`dongne explain`: why a person was told, or was not, a line each."""

from uuid import UUID

from typer import echo

from hub.domain.assembly import connect_domain
from hub.domain.explain import explain
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from protocol.errors import HubError
from protocol.rest.explain import Decision, Explanation, Try


async def explain_command(settings: Settings, user: str, question: str, event: str) -> int:
    """The exit code; what is wrong stands on stderr."""
    life = Lifecycle()
    try:
        domain = await connect_domain(life, settings)
        event_id = UUID(event) if event else None
        told = await explain(domain, user, question_id=question or None, event_id=event_id)
    except HubError as error:
        echo(str(error), err=True)
        return 1
    except ValueError:
        echo(f"{event} is no UUID", err=True)
        return 1
    finally:
        await life.close()
    echo("\n".join(lines(told)))
    return 0


def lines(told: Explanation) -> list[str]:
    found = [f"{told.user_id}: {told.verdict} ({told.reason})"]
    if told.acknowledged_at is not None:
        found.append(f"acknowledged {told.acknowledged_at.isoformat(timespec='milliseconds')}")
    found += [_decided(one) for one in told.decisions]
    found += [_tried(one) for one in told.tries]
    return found


def _decided(one: Decision) -> str:
    at = one.at.isoformat(timespec="milliseconds")
    detail = "  ".join(f"{name}={value}" for name, value in one.detail.items())
    return f"{at}  {one.channel or 'wave':<7} {one.verdict:<10} {one.reason}  {detail}".rstrip()


def _tried(one: Try) -> str:
    at = one.updated_at.isoformat(timespec="milliseconds")
    words = [one.reason, one.error_code, one.taken_back_at and "taken back"]
    more = "  ".join(word for word in words if word)
    text = f"{at}  {one.channel:<7} {one.status:<10} {one.attempts} tries  {more}"
    return text.rstrip()
