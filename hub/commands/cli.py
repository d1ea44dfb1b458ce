"""`dongne …`: what an operator types. Commands import what they need when they run."""

import gc
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.plumbing.settings.settings import Settings

app = typer.Typer(
    name="dongne",
    help="A real-time notification hub for a neighbourhood Q&A community.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich takes three times as long to import as all the rest
)


def load_settings(environ: "Mapping[str, str]", *, complete: bool = True) -> "Settings":
    """Settings of `environ`; with problems the process ends: all of them on stderr, exit code 1."""
    from hub.plumbing.settings.settings import Settings, SettingsError

    try:
        return Settings.load(environ, complete=complete)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


@app.command("check-config")
def check_config(
    example: Annotated[bool, typer.Option(help="Print .env.example instead.")] = False,
) -> None:
    """Check the settings and print what is in force, secrets hidden."""
    from hub.plumbing.settings.settings import example as example_text

    if example:
        typer.echo(example_text(), nl=False)
        return
    settings = load_settings(os.environ, complete=False)
    part = ""
    for row, value, given in settings.in_force():
        if row.part != part:
            part = row.part
            typer.secho(f"\n{part}", bold=True)
        origin = "set" if given else "default"
        typer.echo(f"  {row.name:<32} {value or '-':<36} {origin}")


@app.command()
def secret() -> None:
    """Make a secret: 32 random bytes in base64."""
    from hub.plumbing.settings.settings import new_secret

    typer.echo(new_secret())


@app.command()
def token(
    user: Annotated[str, typer.Option(help="Whose token: a user's id.")] = "",
    role: Annotated[str, typer.Option(help="user or admin.")] = "user",
    ttl: Annotated[str, typer.Option(help="Its life, as 15m; by default JWT_EXPIRATION.")] = "",
    service: Annotated[str, typer.Option(help="Instead: the id of a service with a key.")] = "",
    scope: Annotated[list[str] | None, typer.Option(help="Of a service: no more than these.")] = (
        None
    ),
    room_prefix: Annotated[list[str] | None, typer.Option(help="Rooms, likewise.")] = None,
    event_type: Annotated[list[str] | None, typer.Option(help="Events, likewise.")] = None,
) -> None:
    """Sign an access token, for tests and operators; or a token for a part of a service, which may
    no more than the service's key."""
    from datetime import UTC, datetime
    from uuid import uuid4

    from hub.plumbing.settings.parsing import parse_duration
    from hub.plumbing.settings.settings import SettingsError, with_development_secrets
    from protocol.tokens import LONGEST_LIFE_S, ServiceToken, sign_access, sign_service

    if role not in ("user", "admin"):
        raise typer.BadParameter("must be user or admin", param_hint="--role")
    if bool(user) == bool(service) or len(user or service) > 128:
        raise typer.BadParameter(
            "one of them, of 1 to 128 characters", param_hint="--user, --service"
        )
    try:
        auth = load_settings(with_development_secrets(os.environ), complete=False).auth
        ttl_s = parse_duration(ttl) if ttl else auth.access_ttl_s
        if ttl_s > LONGEST_LIFE_S:
            raise ValueError("must be 7d at most")
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--ttl") from None
    jti = str(uuid4())
    if service:
        may = ServiceToken(
            service,
            jti,
            None if scope is None else frozenset(scope),
            None if room_prefix is None else tuple(room_prefix),
            None if event_type is None else frozenset(event_type),
        )
        typer.echo(sign_service(auth.token_keys, may, now=datetime.now(UTC), ttl_s=ttl_s))
        return
    typer.echo(
        sign_access(auth.token_keys, user, role, now=datetime.now(UTC), ttl_s=ttl_s, jti=jti)  # type: ignore[arg-type]
    )


def _run(name: str, environ: "Mapping[str, str]" = os.environ) -> None:
    from hub.commands.start import run_door
    from hub.plumbing.settings.settings import SettingsError

    try:
        code = run_door(name, environ)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        code = 1
    raise typer.Exit(code)


@app.command()
def up() -> None:
    """Start everything in one process, with its own PostgreSQL and Valkey where none is given."""
    _run("up")


@app.command()
def hub(
    processes: Annotated[
        int | None, typer.Option(help="How many share PORT, WebSocket only; else HUB_PROCESSES.")
    ] = None,
    report: Annotated[int | None, typer.Option(hidden=True, help="Given by the parent.")] = None,
) -> None:
    """Start the door by socket, in one process or several."""
    environ = dict(os.environ)
    if processes is not None:
        environ["HUB_PROCESSES"] = str(processes)
    settings = load_settings(environ)
    if settings.sockets.hub_processes == 1:
        _run("hub", environ)
    elif report is None:
        from hub.commands.processes import run_hubs

        raise typer.Exit(run_hubs(settings, environ))
    else:
        from hub.commands.start import run_hub_of_many

        raise typer.Exit(run_hub_of_many(environ, report))


@app.command()
def api() -> None:
    """Start the door by request."""
    _run("api")


@app.command()
def worker() -> None:
    """Start the door by job: push, email, waves, the outbox's sweeper."""
    _run("worker")


@app.command()
def migrate(
    what: Annotated[str, typer.Argument(help="up, down or status.")] = "up",
    phase: Annotated[str, typer.Option(help="before or after a deployment; both by default.")] = "",
    steps: Annotated[int, typer.Option(help="How many to take back, with `down`.")] = 1,
    dump: Annotated[str, typer.Option(help="Save the database to this file first.")] = "",
) -> None:
    """Bring the database to this version, take migrations back, or say where it stands."""
    import asyncio
    from pathlib import Path

    from hub.commands.dumping import DumpError
    from hub.commands.operate import migration_command

    if what not in ("up", "down", "status") or phase not in ("", "before", "after"):
        raise typer.BadParameter("dongne migrate [up|down|status] [--phase before|after]")
    database = load_settings(os.environ, complete=False).database
    if database.direct_dsn is None:
        raise typer.BadParameter("DATABASE_URL is not set")
    try:
        asyncio.run(migration_command(database, what, phase, steps, Path(dump) if dump else None))
    except DumpError as error:
        typer.echo(f"no dump, so nothing was migrated: {error}", err=True)
        raise typer.Exit(1) from None


@app.command()
def key(
    client: Annotated[str, typer.Argument(help="Id of the service.")],
    scope: Annotated[list[str], typer.Option(help="What it may do; repeat it.")],
    room_prefix: Annotated[list[str] | None, typer.Option(help="Rooms it may tell.")] = None,
    event_type: Annotated[list[str] | None, typer.Option(help="Events it may publish.")] = None,
) -> None:
    """Make (or renew) the key of a service; it is shown this once."""
    import asyncio

    from hub.commands.operate import key_command

    settings = load_settings(os.environ)
    made = asyncio.run(key_command(settings, client, scope, room_prefix or [], event_type or []))
    typer.echo(made)


def _bus_settings() -> "Settings":
    """With the Redis of a `dongne up` in this folder, where development names none."""
    settings = load_settings(os.environ, complete=False)
    part = settings.redis
    if part.url or part.redis_host or part.sentinels:
        return settings
    from hub.commands import credentials

    try:
        url = credentials.redis_url(settings.process.embedded_dir)
    except (OSError, ValueError):
        typer.echo("REDIS_URL: is needed (or REDIS_HOST or REDIS_SENTINELS)", err=True)
        raise typer.Exit(1) from None
    return load_settings({**os.environ, "REDIS_URL": url}, complete=False)


@app.command()
def requeue(
    what: Annotated[str, typer.Argument(help="job, event, or list.")],
    id: Annotated[str, typer.Argument(help="A job's number, or an event's id.")] = "",
    queue: Annotated[str, typer.Option(help="Only of this queue.")] = "",
) -> None:
    """Put a held job or a failed event back; `list` shows what is held."""
    import asyncio

    from hub.commands.queues import requeue_command

    if what not in ("job", "event", "list") or (what == "list") == bool(id):
        raise typer.BadParameter("dongne requeue job ID, event ID, or list")
    settings = load_settings(os.environ)
    raise typer.Exit(asyncio.run(requeue_command(settings, what, id, queue or None)))


@app.command()
def explain(
    user: Annotated[str, typer.Option(help="A user's id.")],
    question: Annotated[str, typer.Option(help="Of this urgent question.")] = "",
    event: Annotated[str, typer.Option(help="Or of this event of another service.")] = "",
) -> None:
    """Say why a person was told, or was not: each decision, and what came of each try."""
    import asyncio

    from hub.commands.explain import explain_command

    if bool(question) == bool(event):
        raise typer.BadParameter("dongne explain --user ID and --question ID or --event ID")
    settings = load_settings(os.environ)
    raise typer.Exit(asyncio.run(explain_command(settings, user, question, event)))


@app.command()
def emit(
    room: Annotated[str, typer.Argument(help="As question:42 or user:somebody.")],
    event: Annotated[str, typer.Argument(help="Any name; the table's ones keep their class.")],
    data: Annotated[str, typer.Argument(metavar="[JSON]", help="An object.")] = "{}",
    namespace: Annotated[str | None, typer.Option(help="By default the event's own.")] = None,
    excepted: Annotated[
        list[str] | None, typer.Option("--except", help="Not to this room; repeat it.")
    ] = None,
    volatile: Annotated[bool, typer.Option(help="Not kept for recovery.")] = False,
    id: Annotated[str | None, typer.Option(help="Goes out once; else the data's or a new one.")] = (
        None
    ),
) -> None:
    """Publish an event to a room; prints its id and offset."""
    from hub.commands import bus as bus_commands

    settings = _bus_settings()
    told = bus_commands.emit(
        settings,
        room,
        event,
        data,
        namespace=namespace,
        except_rooms=excepted or (),
        volatile=volatile,
        id=id,
    )
    raise typer.Exit(bus_commands.run(settings, told))


@app.command()
def tail(
    room: Annotated[str, typer.Option(help="Only rooms like this, as question:*.")] = "",
    namespace: Annotated[str, typer.Option(help="Only this one.")] = "",
    requests: Annotated[
        bool, typer.Option("--requests", help="What servers ask of servers, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line.")] = False,
) -> None:
    """Print what passes on the bus until Ctrl-C; tokens, texts and positions are cut."""
    from hub.commands import bus as bus_commands

    settings = _bus_settings()
    heard = bus_commands.tail(
        settings, room=room, namespace=namespace, requests=requests, as_json=as_json
    )
    raise typer.Exit(bus_commands.run(settings, heard))


@app.command()
def drain(
    node: Annotated[str, typer.Argument(help="A name of the list.")] = "",
) -> None:
    """End a node as SIGTERM does and wait until it is gone; without NODE, list the nodes."""
    from hub.commands import bus as bus_commands

    settings = _bus_settings()
    work = bus_commands.drain(settings, node) if node else bus_commands.list_nodes(settings)
    raise typer.Exit(bus_commands.run(settings, work))


@app.command()
def doctor(
    url: Annotated[str, typer.Argument(help="What clients are given, as https://hub.example.")],
    token: Annotated[str, typer.Option(help="An access token, to go on behind CONNECT.")] = "",
    idle: Annotated[bool, typer.Option(help="Wait for a ping on a quiet socket, too.")] = True,
) -> None:
    """Walk the path to an installation as a client does: proxies, upgrade, recovery, routes."""
    import asyncio

    from hub.commands.doctor import doctor_command

    raise typer.Exit(asyncio.run(doctor_command(url, token or None, patient=idle)))


@app.command()
def bench(
    sockets: Annotated[int, typer.Option(min=20, help="How many connect.")] = 500,
    events: Annotated[int, typer.Option(min=10, help="How many each of them hears.")] = 200,
    passport: Annotated[str, typer.Option(help="Keep the figures in this file, for `plan`.")] = "",
) -> None:
    """Measure what the hub costs on this machine, on stores of its own; takes some ten seconds."""
    from hub.commands.passport import bench_command

    raise typer.Exit(bench_command(sockets, events, passport))


@app.command()
def plan(
    sockets: Annotated[int, typer.Option(help="How many are connected at once.")],
    passport: Annotated[str, typer.Option(help="What `dongne bench --passport` wrote.")],
    events: Annotated[float, typer.Option(help="Events a second, in all rooms.")] = 10,
    members: Annotated[float, typer.Option(help="Sockets that hear one event.")] = 200,
    memory: Annotated[float, typer.Option(help="MiB that a node may have.")] = 512,
) -> None:
    """Work out how many nodes that takes; one more than needed, so that one may go."""
    from hub.commands.plan import Need, plan_command

    need = Need(sockets, events * members, events, memory)
    raise typer.Exit(plan_command(passport, need))


def quicken_imports() -> None:
    """What imports need not wait for. They make a hundred times as many objects as the collector
    lets pass by default (700), none of them garbage; and pydantic reads the metadata of every
    installed package for plugins, of which there are none.
    """
    gc.set_threshold(50_000)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")


def main() -> None:
    quicken_imports()
    sys.exit(app())


if __name__ == "__main__":
    main()
