"""Where Redis is: one address, the master that its Sentinels name, or the node of a cluster that
owns our slot. Read here and nowhere else.

Everything that reads raises ValueError with a sentence that never repeats what it was given.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl, unquote, urlencode

from pydantic import AfterValidator, SecretStr
from redis.asyncio.connection import SSLConnection, parse_url

from hub.plumbing.settings.parsing import Address, parse_addresses

MASTER: Final = "mymaster"
"""The name in Redis's own sentinel.conf."""

_SCHEMES: Final = {
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
    "redis-sentinel": "redis",
    "redis+sentinel": "redis",
    "rediss-sentinel": "rediss",
    "rediss+sentinel": "rediss",
    "redis+cluster": "redis",
    "rediss+cluster": "rediss",
}
"""What we read, and what redis-py calls the connection to the server itself."""

CLUSTER_PREFIX: Final = "{hub}:"
"""REDIS_PREFIX on a cluster where none is given: what stands in braces says which slot it is."""

_TAGGED: Final = re.compile(r"[^{}]*\{[^{}]+\}[^{}]*")

_URL: Final = re.compile(r"([a-z+-]+)://([^/?]*@)?([^/?@]*)(.*)")
"""Scheme, login, hosts, rest. urllib reads no list of hosts, least with IPv6 in it."""

_FORM: Final = (
    "must be scheme://user:password@host:port/database?name=value, "
    "with what is special in a name or password as %40"
)

_OF_SENTINELS: Final = ("sentinel_username", "sentinel_password")
_OF_TLS: Final = {
    "ssl_ca_certs",
    "ssl_ca_data",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_ciphers",
    "ssl_keyfile",
    "ssl_password",
}
_IN_QUERY: Final = {"db", "username", "password"}


@dataclass(frozen=True)
class RedisAddress:
    """`options` are redis-py's connection options; they and `sentinel_options` hold passwords, so
    they stand in no repr. With `sentinels` or `nodes` (some of a cluster's) there is no host in
    `options`. On a cluster `key` is one of ours: all are in its slot.
    """

    options: dict[str, Any] = field(repr=False)
    sentinels: tuple[Address, ...] = ()
    master: str = MASTER
    sentinel_options: dict[str, Any] = field(default_factory=dict, repr=False)
    nodes: tuple[Address, ...] = ()
    key: str = ""

    @classmethod
    def of(
        cls, url: str, sentinels: Sequence[Address] = (), master: str = MASTER
    ) -> "RedisAddress":
        """`redis://[user:password@]host:port[/db]`, `rediss://` for TLS, `unix:///path[?db=]`, and
        `redis-sentinel://[user:password@]host:port,host:port[/db][/NAME]` or `rediss-sentinel://`,
        each also with `+` for `-`; `redis+cluster://[user:password@]host:port,host:port/` or
        `rediss+cluster://`, whose nodes have one login.

        `sentinels` (REDIS_SENTINELS) make a `redis://` or `rediss://` URL one of Sentinels: its
        host is of no account. The login is the server's; in the query, `sentinel_username` and
        `sentinel_password` are that of the Sentinels, `sentinel_ssl=true` asks them over TLS, too,
        and `master` comes before the argument.
        Raises ValueError.
        """
        found = _read(url)
        if sentinels and (found.sentinels or found.nodes or "path" in found.options):
            raise ValueError("goes with redis:// and rediss:// alone")
        sentinels = found.sentinels or tuple(sentinels)
        if "ssl" in found.sentinel_options and not found.tls:
            raise ValueError("must be rediss-sentinel:// for sentinel_ssl")
        if not sentinels and (found.master or found.sentinel_options):
            raise ValueError("is needed: the URL names a master or a login of Sentinels, but none")
        hosts = ("host", "port") if sentinels or found.nodes else ()
        options = {name: value for name, value in found.options.items() if name not in hosts}
        login = found.sentinel_options
        return cls(options, sentinels, found.master or master, login, found.nodes)

    @property
    def tls(self) -> bool:
        return issubclass(self.options.get("connection_class", object), SSLConnection)

    def holding(self, key: str) -> "RedisAddress":
        """On a cluster the owner of this key's slot; elsewhere the same server."""
        return replace(self, key=key) if self.nodes else self

    def with_password(self, password: str) -> "RedisAddress":
        """Logs in with `password` where the address has none."""
        return replace(self, options={"password": password, **self.options})


def _read(url: str) -> RedisAddress:
    """The URL by itself; `master` is empty when it names none."""
    match = _URL.fullmatch(url)
    if match is None or match[1] not in _SCHEMES:
        raise ValueError(f"must begin with {', '.join(f'{name}://' for name in _SCHEMES)}")
    if "#" in url:
        raise ValueError(_FORM)
    scheme, login, hosts, rest = match.groups(default="")
    sentinels: tuple[Address, ...] = ()
    nodes: tuple[Address, ...] = ()
    if scheme.endswith("sentinel"):
        sentinels, hosts = parse_addresses(hosts), "sentinel"
        if not sentinels:
            raise ValueError("must name a Sentinel, as redis-sentinel://host:port,host:port")
    elif scheme.endswith("cluster"):
        nodes, hosts = parse_addresses(hosts, 6379), "cluster"
        if not nodes:
            raise ValueError("must name a node, as redis+cluster://host:port,host:port")
    path, _, text = rest.partition("?")
    query = _query(text)
    if scheme != "unix":
        _take_path(path, query, with_master=bool(sentinels))
    elif hosts or path in ("", "/"):
        raise ValueError("must be unix:// and an absolute path, as unix:///run/valkey.sock")
    master = query.pop("master", "")
    asked = {name.removeprefix("sentinel_"): query.pop(name, "") for name in _OF_SENTINELS}
    over_tls = _over_tls(query)
    _check(query, tls=_SCHEMES[scheme] == "rediss")
    plain = f"{_SCHEMES[scheme]}://{login}{hosts}{path if scheme == 'unix' else ''}"
    options = _options(f"{plain}?{urlencode(query)}")
    if nodes and options.get("db"):
        raise ValueError("must have no database but 0 on a cluster")
    own: dict[str, Any] = {name: value for name, value in asked.items() if value}
    if over_tls:
        own |= {"ssl": True, **{name: v for name, v in options.items() if name in _OF_TLS}}
    return RedisAddress(options, sentinels, master, own, nodes)


def _query(text: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(text, strict_parsing=True)) if text else {}
    except ValueError:
        raise ValueError(_FORM) from None


def _take_path(path: str, query: dict[str, str], *, with_master: bool) -> None:
    """`/db` and `/NAME` as if they stood in the query, which is stronger."""
    for segment in filter(None, path.split("/")):
        if segment.isdecimal():
            query.setdefault("db", segment)
        elif with_master:
            query.setdefault("master", unquote(segment))
        else:
            raise ValueError(_FORM)


def _over_tls(query: dict[str, str]) -> bool:
    """Whether the Sentinels are asked as the master is; they were not always."""
    said = query.pop("sentinel_ssl", "false")
    if said not in ("true", "false"):
        raise ValueError("must have true or false for sentinel_ssl")
    return said == "true"


def _check(query: dict[str, str], *, tls: bool) -> None:
    """Both our clients do what an option says, or it is refused."""
    known = _IN_QUERY | (_OF_TLS if tls else set())
    if query.keys() - known:
        also = sorted({*known, "master", *_OF_SENTINELS, "sentinel_ssl"})
        raise ValueError(f"must have no options in its query but {', '.join(also)}")
    if query.get("ssl_cert_reqs", "none") not in ("none", "optional", "required"):
        raise ValueError("must have none, optional or required for ssl_cert_reqs")
    if "ssl_keyfile" in query and "ssl_certfile" not in query:
        raise ValueError("must have an ssl_certfile with its ssl_keyfile")


def _options(url: str) -> dict[str, Any]:
    try:
        return dict(parse_url(url))
    except ValueError:  # urllib quotes what it cannot read, be it a piece of the password
        raise ValueError(_FORM) from None


def names_cluster(url: str) -> bool:
    return url.partition("://")[0].endswith("+cluster")


def cluster_prefix(prefix: str) -> str:
    """REDIS_PREFIX as it must be on a cluster, all keys in one slot. Raises ValueError."""
    if not _TAGGED.fullmatch(prefix):
        raise ValueError(f"must hold one tag in braces on a cluster, as {CLUSTER_PREFIX}")
    return prefix


def _readable(value: SecretStr) -> SecretStr:
    _read(value.get_secret_value())
    return value


RedisUrl = Annotated[SecretStr, AfterValidator(_readable)]
