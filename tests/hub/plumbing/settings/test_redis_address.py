"""Every form of an address, as the settings, the client and the cluster read it: the same."""

from typing import Any

import pytest
from redis.asyncio.sentinel import SentinelConnectionPool

from hub.cluster.server import Server
from hub.plumbing.settings.redis_address import RedisAddress
from hub.plumbing.settings.settings import Settings, SettingsError
from hub.plumbing.stores.redis_client import connect

Hosts = tuple[tuple[str, int], ...]

PLAIN: list[tuple[str, dict[str, Any]]] = [
    ("redis://", {}),
    ("redis://h", {"host": "h"}),
    ("redis:///2", {"db": 2}),
    ("redis://h:7/", {"host": "h", "port": 7}),
    ("redis://[::1]:7/3", {"host": "::1", "port": 7, "db": 3}),
    ("redis://u:p%40%2F@h/1?db=2", {"host": "h", "username": "u", "password": "p@/", "db": 2}),
    ("redis://h?username=u&password=p%26%25", {"host": "h", "username": "u", "password": "p&%"}),
    ("unix:///run/a%20b.sock?db=4", {"path": "/run/a b.sock", "db": 4}),
    ("unix://u:p@/run/r.sock", {"path": "/run/r.sock", "username": "u", "password": "p"}),
    ("rediss://:p@h:6380/1", {"host": "h", "port": 6380, "password": "p", "db": 1}),
    ("rediss://h?ssl_ca_certs=%2Fca.pem", {"host": "h", "ssl_ca_certs": "/ca.pem"}),
    (
        "rediss://h?ssl_check_hostname=false&ssl_cert_reqs=optional",
        {"host": "h", "ssl_check_hostname": False, "ssl_cert_reqs": "optional"},
    ),
]

OF_SENTINELS: list[tuple[str, Hosts, str, dict[str, Any], dict[str, Any]]] = [
    ("redis-sentinel://a:1,b", (("a", 1), ("b", 26379)), "mymaster", {}, {}),
    ("redis+sentinel://:p@a:1/2/main", (("a", 1),), "main", {"password": "p", "db": 2}, {}),
    ("redis-sentinel://a/main/2", (("a", 26379),), "main", {"db": 2}, {}),
    ("redis-sentinel://a/main?master=other", (("a", 26379),), "other", {}, {}),
    ("redis-sentinel://a:1,[::1]:7", (("a", 1), ("::1", 7)), "mymaster", {}, {}),
    (
        "redis-sentinel://u:p%40@a:1,b:2/3?master=ma+in&sentinel_username=s&sentinel_password=q%26",
        (("a", 1), ("b", 2)),
        "ma in",
        {"username": "u", "password": "p@", "db": 3},
        {"username": "s", "password": "q&"},
    ),
    ("rediss-sentinel://a?ssl_ca_certs=c", (("a", 26379),), "mymaster", {"ssl_ca_certs": "c"}, {}),
    ("rediss+sentinel://a?sentinel_password=", (("a", 26379),), "mymaster", {}, {}),
    (
        "rediss-sentinel://a?sentinel_ssl=true&ssl_ca_certs=c",
        (("a", 26379),),
        "mymaster",
        {"ssl_ca_certs": "c"},
        {"ssl": True, "ssl_ca_certs": "c"},
    ),
]


OF_A_CLUSTER: list[tuple[str, Hosts, dict[str, Any]]] = [
    ("redis+cluster://a:1,b", (("a", 1), ("b", 6379)), {}),
    (
        "redis+cluster://u:p%40@a:1,[::1]:7/",
        (("a", 1), ("::1", 7)),
        {"username": "u", "password": "p@"},
    ),
    ("redis+cluster://a/0", (("a", 6379),), {"db": 0}),
    ("rediss+cluster://a?ssl_ca_certs=c", (("a", 6379),), {"ssl_ca_certs": "c"}),
]


def part_of(**environ: str) -> Any:
    return Settings.load(environ, complete=False).redis


def options_of(address: RedisAddress) -> dict[str, Any]:
    return {name: value for name, value in address.options.items() if name != "connection_class"}


@pytest.mark.parametrize(("url", "options"), PLAIN)
def test_one_server(url: str, options: dict[str, Any]) -> None:
    part = part_of(REDIS_URL=url)
    address = part.address
    assert Server.of(url).address == address
    assert options_of(address) == options
    assert (address.sentinels, address.tls) == ((), url.startswith("rediss"))
    pool = connect(part).connection_pool
    assert pool.connection_kwargs.items() >= options.items()
    assert pool.connection_class is address.options.get("connection_class", pool.connection_class)


@pytest.mark.parametrize(("url", "sentinels", "master", "options", "login"), OF_SENTINELS)
def test_sentinels(
    url: str, sentinels: Hosts, master: str, options: dict[str, Any], login: dict[str, Any]
) -> None:
    part = part_of(REDIS_URL=url)
    address = part.address
    assert Server.of(url).address == address
    assert (address.sentinels, address.master) == (sentinels, master)
    assert options_of(address) == options
    assert (address.sentinel_options, address.tls) == (login, url.startswith("rediss"))
    pool = connect(part).connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    assert pool.connection_kwargs.items() >= options.items()
    assert pool.service_name == master
    asked = [one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels]
    assert tuple((one["host"], one["port"]) for one in asked) == sentinels
    given = {name: value for name, value in login.items() if name != "ssl"}
    assert all(one.items() >= given.items() for one in asked)
    assert all(("ssl_ca_certs" in one) == ("ssl" in login) for one in asked)


@pytest.mark.parametrize(("url", "nodes", "options"), OF_A_CLUSTER)
def test_a_cluster(url: str, nodes: Hosts, options: dict[str, Any]) -> None:
    part = part_of(REDIS_URL=url)
    address = part.address
    assert Server.of(url).address == address
    assert (address.nodes, address.key) == (nodes, "{hub}:epoch")
    assert (options_of(address), address.sentinels) == (options, ())
    assert (part.prefix, part.slot, address.tls) == ("{hub}:", "{hub}:", url.startswith("rediss"))
    kwargs = connect(part).connection_pool.connection_kwargs
    assert kwargs.items() >= options.items()
    assert "host" not in kwargs


def test_the_prefix_says_the_slot() -> None:
    url = "redis+cluster://a"
    part = part_of(REDIS_URL=url, REDIS_PREFIX="hub:{jeju}:", REDIS_PASSWORD="p")
    assert (part.slot, part.address.key) == ("hub:{jeju}:", "hub:{jeju}:epoch")
    assert part.address.options == {"password": "p"}
    assert Server.of(url, prefix="hub:{jeju}:").address.key == part.address.key
    assert part_of(REDIS_URL="redis://a", REDIS_PREFIX="{jeju}:").slot == ""


@pytest.mark.parametrize("prefix", ["jeju:", "{}:", "{a}{b}:", "{a:", "a}:", "{{a}}:"])
def test_a_prefix_without_one_tag_is_refused_on_a_cluster(prefix: str) -> None:
    for environ in (
        {"REDIS_URL": "redis+cluster://a"},
        {"REDIS_URL": "redis://a", "REDIS_CACHE_URL": "redis+cluster://a"},
    ):
        with pytest.raises(SettingsError) as refused:
            part_of(REDIS_PREFIX=prefix, **environ)
        assert refused.value.problems == [
            "REDIS_PREFIX: must hold one tag in braces on a cluster, as {hub}:"
        ]
        part_of(REDIS_PREFIX="{jeju}:", **environ)
    part_of(REDIS_URL="redis://a", REDIS_PREFIX=prefix)
    with pytest.raises(ValueError, match="one tag"):
        Server.of("redis+cluster://a", prefix=prefix)


def test_sentinels_of_a_setting() -> None:
    url = "rediss://:p@ignored:1/4?sentinel_password=s&ssl_ca_certs=c"
    address = part_of(REDIS_URL=url, REDIS_SENTINELS="a:1, b", REDIS_MASTER_NAME="main").address
    assert address == Server.of(url, "a:1, b", "main").address
    assert (address.sentinels, address.master) == ((("a", 1), ("b", 26379)), "main")
    assert options_of(address) == {"password": "p", "db": 4, "ssl_ca_certs": "c"}
    assert address.sentinel_options == {"password": "s"}
    named = part_of(REDIS_URL="redis-sentinel://a/main", REDIS_MASTER_NAME="other").address
    assert named.master == "main"


def test_parts() -> None:
    one = part_of(REDIS_HOST="h", REDIS_PORT="7", REDIS_PASSWORD="p/w").address
    assert one.options == {"host": "h", "port": 7, "password": "p/w"}
    many = part_of(REDIS_HOST="h", REDIS_SENTINELS="a", REDIS_PASSWORD="p/w").address
    assert (many.options, many.sentinels) == ({"password": "p/w"}, (("a", 26379),))


def test_the_password_of_the_parts_is_that_of_a_sentinel_url_without_one() -> None:
    def password(url: str) -> object:
        return part_of(REDIS_URL=url, REDIS_PASSWORD="p").address.options.get("password")

    assert password("redis-sentinel://a") == "p"
    assert password("redis-sentinel://:own@a") == "own"
    assert password("redis://a") is None


@pytest.mark.parametrize(
    "url",
    [
        "http://:hidden@a",
        "redis:hidden",
        "redis-cluster://:hidden@a",
        "redis://:hidden@a:b",
        "redis://:hidden@a:70000",
        "redis://:hid/den@a",
        "redis://:hid#den@a",
        "redis://:hid?den@a",
        "redis://:hid[den@a",
        "redis://[hidden]",
        "redis://u:hidden@a/db",
        "redis://:hidden@a?db=x",
        "redis://:hidden@a?db",
        "redis://:hidden@a?socket_timeout=1",
        "redis://:hidden@a?ssl_ca_certs=c",
        "rediss://:hidden@a?ssl_cert_reqs=perhaps",
        "rediss://:hidden@a?ssl_keyfile=k",
        "unix://:hidden@",
        "unix://hidden/run/r.sock",
        "redis+cluster://",
        "redis+cluster://:hidden@a/1",
        "redis+cluster://:hidden@a/name",
        "redis+cluster://:hidden@a:b",
        "redis+cluster://:hidden@a?ssl_ca_certs=c",
        "redis-sentinel://",
        "redis-sentinel://:5",
        "redis-sentinel://:hidden@",
        "redis-sentinel://:hidden@a:b",
        "redis-sentinel://:hid/den@a",
        "redis-sentinel://:hidden@[a",
        "redis-sentinel://:hidden@[hidden]:1",
        "redis-sentinel://:hidden@a?sentinel_port=1",
        "rediss-sentinel://:hidden@a?sentinel_ssl=perhaps",
    ],
)
def test_other_urls_are_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        part_of(REDIS_URL=url)
    [problem] = refused.value.problems
    assert problem.startswith("REDIS_URL: must ")
    assert not any(piece in problem for piece in ("hid", "den"))
    with pytest.raises(ValueError, match=r"^must ") as caught:
        Server.of(url)
    assert caught.value.__cause__ is None
    assert f"REDIS_URL: {caught.value}" == problem


@pytest.mark.parametrize(
    ("url", "sentinels"),
    [
        ("redis-sentinel://a", "b"),
        ("unix:///run/r.sock", "b"),
        ("redis+cluster://a", "b"),
        ("redis+cluster://a?master=main", ""),
        ("redis://h?master=main", ""),
        ("redis://h?sentinel_password=hidden", ""),
    ],
)
def test_what_does_not_go_together_is_refused(url: str, sentinels: str) -> None:
    with pytest.raises(SettingsError) as refused:
        part_of(REDIS_URL=url, REDIS_SENTINELS=sentinels)
    [problem] = refused.value.problems
    assert problem.startswith("REDIS_SENTINELS: ")
    assert "hidden" not in problem
    with pytest.raises(ValueError, match=r".+"):
        Server.of(url, sentinels)


def test_no_password_stands_in_a_repr() -> None:
    server = Server.of("redis-sentinel://u:hidden@a:1?sentinel_password=hidden")
    assert "hidden" not in repr(server)
    assert "hidden" not in repr(server.address.with_password("hidden"))
