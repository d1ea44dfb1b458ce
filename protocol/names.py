"""Names of rooms, Redis keys, streams, channels. No such string is put together elsewhere."""

import re
from dataclasses import dataclass
from typing import Final

MAIN: Final = "/"
CHAT: Final = "/chat"
STREAMING: Final = "/streaming"
NAMESPACES: Final = (MAIN, CHAT, STREAMING)

CACHE_INVALIDATE_CHANNEL: Final = "cache:invalidate"
QUESTION_LISTS: Final = "cache:questions"
ATLAS: Final = "cache:atlas"
"""What is invalidated together: lists of questions; regions and neighbourhoods."""


def cached_question(question_id: str) -> str:
    return f"question:{question_id}"


def cached_user(user_id: str) -> str:
    return f"user:{user_id}"


def cached_trending(region: str | None = None) -> str:
    return "trending:tags" if region is None else f"trending:tags:{region}"


OUTBOX_CHANNEL: Final = "dongne_outbox"
"""PostgreSQL NOTIFY channel that wakes the sweeper."""


def user_room(user_id: str) -> str:
    return f"user:{user_id}"


def cell_room(cell: str) -> str:
    """Room of an H3 cell (resolution 8, hexadecimal); the server alone puts people in."""
    return f"cell:{cell}"


def mute_room(neighbourhood_code: str) -> str:
    """Sockets of people who muted a neighbourhood; a wave excepts it."""
    return f"mute:{neighbourhood_code}"


def region_room(code: str) -> str:
    return f"region:{code}"


def neighbourhood_room(code: str) -> str:
    return f"neighbourhood:{code}"


def tag_room(hashtag: str) -> str:
    return f"tag:{hashtag}"


def question_room(question_id: str) -> str:
    return f"question:{question_id}"


def stream_room(stream_key: str) -> str:
    return f"stream:{stream_key}"


def chat_room(room_id: str) -> str:
    return f"chat:{room_id}"


HIDDEN_ROOMS: Final = ("cell:", "mute:")
"""Prefixes of rooms that stand in no list, presence or history; nobody may broadcast to them."""

ROOM_NAMESPACE: Final = {"chat:": CHAT}
"""Where a service's broadcast to a room goes, by prefix; every other room: namespace /."""


def room_kind(room: str) -> str:
    """Prefix of a room name up to and with its first colon; empty when there is none."""
    head, colon, _ = room.partition(":")
    return head + colon if colon else ""


_NOT_PLAIN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def is_plain(name: str) -> bool:
    """Whether a name holds no control characters, no line breaks of any kind and no half of a
    character; joiners of emoji and blanks are welcome."""
    return _NOT_PLAIN.search(name) is None


NAME_BYTES: Final = 128
NAME_RULE: Final = f"1 to {NAME_BYTES} bytes and no control characters"
"""Of a room and of an event, as a refusal says it."""


def is_name(name: object) -> bool:
    """Whether a room or an event may be called so (NAME_RULE)."""
    return isinstance(name, str) and is_plain(name) and 0 < len(name.encode()) <= NAME_BYTES


@dataclass(frozen=True, slots=True)
class Keys:
    """Our own Redis keys, each behind REDIS_PREFIX."""

    prefix: str = ""

    def presence(self, user_id: str, namespace: str = "/") -> str:
        """Sorted set: one member a socket, scored by its expiry (epoch seconds). Outside of / the
        namespace (without a colon) stands first: whatever an id holds, no two keys are the same."""
        return f"{self.prefix}presence{namespace.removesuffix('/')}:{user_id}"

    def room_online(self, room: str) -> str:
        return f"{self.prefix}room:{room}:online"

    def viewers(self, stream_key: str) -> str:
        """S5-28: the viewers of a stream; members expire with their lease (C59)."""
        return f"{self.prefix}stream:{stream_key}:viewers"

    def node(self, node_id: str) -> str:
        return f"{self.prefix}node:{node_id}"

    def unread(self, user_id: str) -> str:
        return f"{self.prefix}unread:{user_id}"

    def blacklist(self, jti: str) -> str:
        return f"{self.prefix}blacklist:{jti}"

    def revoked(self, user_id: str) -> str:
        """Time in ms; a token issued before it is refused."""
        return f"{self.prefix}revoked:{user_id}"

    def rate(self, scope: str, key: str) -> str:
        return f"{self.prefix}rl:{scope}:{key}"

    def wrote(self, user_id: str) -> str:
        """There while this person's reads go to the primary (C35)."""
        return f"{self.prefix}wrote:{user_id}"

    def trending(self, region: str | None = None) -> str:
        """A sorted set: hashtags of the last 24 hours by number of questions (S2-071), of all
        regions or of one."""
        return f"{self.prefix}trending:tags:24h" + (f":{region}" if region is not None else "")

    def alert(self, dependency: str) -> str:
        """Held by the worker that says of a dependency that it is away, for all of them."""
        return f"{self.prefix}alert:{dependency}"

    def queue_limit(self, queue: str) -> str:
        """Token bucket of a queue over all workers."""
        return f"{self.prefix}limit:{queue}"

    def log(self, name: str) -> str:
        return f"{self.prefix}log:{name}"

    @property
    def probe(self) -> str:
        """Written by readiness: a Redis that answers PING may yet take no write."""
        return f"{self.prefix}probe"

    @property
    def epoch(self) -> str:
        return f"{self.prefix}epoch"

    def published(self, event_id: str) -> str:
        return f"{self.prefix}published:{event_id}"

    def session(self, pid: str) -> str:
        return f"{self.prefix}session:{pid}"

    @property
    def events_out(self) -> str:
        return f"{self.prefix}events:out"

    def seen(self, event_id: str) -> str:
        return f"{self.prefix}seen:{event_id}"

    def room_log(self, namespace: str, room: str) -> str:
        """Stream of what was published to one room and can be recovered."""
        return self.log(f"{namespace}#{room}#")

    def wide_log(self, namespace: str) -> str:
        """Stream of what went to the whole namespace, or to many rooms at once."""
        return self.log(f"{namespace}#")

    def seats(self, place: str) -> str:
        """Beside `room_online` or `viewers`: who holds a person there (`node user`, by expiry)."""
        return f"{place}:seats"

    @property
    def nodes(self) -> str:
        """Sorted set of the living nodes, scored by expiry."""
        return f"{self.prefix}nodes"

    @property
    def leaving(self) -> str:
        """Sorted set of the nodes that go away, scored by expiry."""
        return f"{self.prefix}leaving"

    def sessions(self, user_id: str) -> str:
        """Sorted set of a person's pids, scored by expiry."""
        return f"{self.prefix}sessions:{user_id}"


@dataclass(frozen=True, slots=True)
class Channels:
    """Redis channels of the Socket.IO adapter, behind ADAPTER_KEY; a sid is a room.

    On a cluster `slot` is REDIS_PREFIX: what is published in its slot has a name of its own there.
    """

    key: str = "socket.io"
    slot: str = ""

    def own(self, channel: str) -> str:
        """Where our own nodes publish and hear what others know by this channel."""
        return self.slot + channel

    def names(self, channel: str) -> tuple[str, ...]:
        """Our own one first, then, where it is another, the one that others know."""
        return (self.slot + channel, channel) if self.slot else (channel,)

    def namespace(self, namespace: str) -> str:
        return f"{self.key}#{namespace}#"

    def room(self, namespace: str, room: str) -> str:
        return f"{self.key}#{namespace}#{room}#"

    def request(self, namespace: str) -> str:
        """Every server listens here: the number of subscribers is the server count."""
        return f"{self.key}-request#{namespace}#"

    def response(self, namespace: str) -> str:
        return f"{self.key}-response#{namespace}#"

    def response_to(self, namespace: str, uid: str) -> str:
        return f"{self.key}-response#{namespace}#{uid}#"

    def patterns(
        self, namespace: str = "", *, requests: bool = False, own: bool = False
    ) -> list[str]:
        """For PSUBSCRIBE: every channel of a namespace, of all of them by default. PUBSUB NUMSUB
        counts no patterns, so who listens by them is not taken for a server. With `own` by the
        names of our own channels, for PUBSUB SHARDCHANNELS.
        """
        kinds = ("", "-request", "-response") if requests else ("",)
        behind = f"#{namespace}#" if namespace else "#"
        before = self.slot if own else ""
        return [_plain_glob(f"{before}{self.key}{kind}{behind}") + "*" for kind in kinds]

    def parts(self, channel: str) -> tuple[str, str, str]:
        """Kind (broadcast, request or response), namespace, and what stands behind it: a room,
        the uid of who asked, or nothing. Raises ValueError for a channel that is none of these.
        """
        for kind in ("", "-request", "-response"):
            head = f"{self.key}{kind}#"
            if channel.startswith(head):
                namespace, mark, rest = channel.removeprefix(head).partition("#")
                if mark and (not rest or rest.endswith("#")):
                    return kind[1:] or "broadcast", namespace, rest[:-1]
        raise ValueError("not a channel of the adapter")


def _plain_glob(text: str) -> str:
    """A glob that matches this text alone."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)


PYTHON_SOCKETIO_CHANNEL: Final = "socketio"
"""python-socketio's own channel; its write-only managers publish there."""
