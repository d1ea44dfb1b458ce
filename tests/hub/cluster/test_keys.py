"""On a cluster all our keys are in one slot: what names them, and what takes several at once."""

import inspect
import re
from pathlib import Path

import pytest
from redis.crc import key_slot

from hub.cluster import scripts
from hub.plumbing.stores import cache
from protocol.names import CACHE_INVALIDATE_CHANNEL, Channels, Keys

ROOT = Path(__file__).parents[3]
PREFIX = "{hub}:"
SCRIPTS = {
    path.stem: path.read_text()
    for folder in ("hub/cluster/lua", "hub/plumbing/limits/lua")
    for path in sorted((ROOT / folder).glob("*.lua"))
} | {"cache": cache._STORE}

CALL = re.compile(r"redis\.call\((?:'([A-Z]+)'|(ARGV\[\d\]))(?:, ([^,)]+))?")
WITHOUT_KEY = {"INFO", "TIME", "PUBLISH"}
FROM_KEYS = re.compile(r"KEYS\[\d\]|KEYS\[i( \+ 1)?\]")
NAMED = {"key": {"_epoch", "bucket", "window"}, "log": {"publish"}}
"""Names that a script gives to one of its KEYS, and which script does."""


def names_of_keys() -> dict[str, str]:
    keys, found = Keys(PREFIX), {}
    for name, member in inspect.getmembers(Keys):
        if name.startswith("_") or name == "prefix":
            continue
        if isinstance(member, property):
            found[name] = getattr(keys, name)
        elif inspect.isfunction(member) and name != "seats":  # of a place, which is a key itself
            needed = inspect.signature(member).parameters.values()
            given = ["a{b}c" for one in needed if one.name != "self"]
            found[name] = member(keys, *given)
    return found


@pytest.mark.parametrize(("name", "key"), names_of_keys().items(), ids=names_of_keys())
def test_every_key_is_in_the_slot_of_the_prefix(name: str, key: str) -> None:
    assert key_slot(key.encode()) == key_slot(PREFIX.encode())
    assert key_slot(Keys(PREFIX).seats(key).encode()) == key_slot(PREFIX.encode())


def test_every_channel_of_our_own_is_too() -> None:
    channels = Channels("jeju{x}", PREFIX)
    own = [channels.own(channels.namespace("/")), channels.own(channels.room("/", "r"))]
    assert {key_slot(one.encode()) for one in own} == {key_slot(PREFIX.encode())}
    assert key_slot((PREFIX + CACHE_INVALIDATE_CHANNEL).encode()) == key_slot(PREFIX.encode())


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_touches_the_keys_that_it_was_given_and_no_other(name: str) -> None:
    """A key that is put together inside would be found out only on another node's slot."""
    calls = CALL.findall(SCRIPTS[name])
    assert SCRIPTS[name].count("redis.call(") == len(calls)
    for command, given, first in calls:
        if given or command in WITHOUT_KEY:
            continue
        assert FROM_KEYS.fullmatch(first) or name in NAMED[first], f"{command} {first}"


def test_the_list_of_scripts_is_whole() -> None:
    assert len(scripts.ALL) == len(set(scripts.ALL))
    assert {*SCRIPTS} - {"_epoch", "cache", "bucket", "window"} == {
        path.stem for path in (ROOT / "hub/cluster/lua").glob("[!_]*.lua")
    }
    evals = [
        str(path.relative_to(ROOT))
        for folder in ("hub", "api", "workers")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if re.search(r"\.eval\(|EVALSHA|\.evalsha\(", path.read_text())
    ]
    assert evals == [
        "hub/cluster/emitter.py",
        "hub/cluster/line.py",
        "hub/cluster/outgoing.py",
        "hub/plumbing/stores/cache.py",
        "hub/plumbing/stores/redis_scripts.py",
    ]


def test_what_takes_several_keys_is_known() -> None:
    """Each of these gives keys of `Keys`, or names behind the prefix, all in one slot."""
    several = re.compile(r"\.mget\(|\"(UNLINK|DEL|MGET|SUNION|ZUNION|RENAME|COPY)\"|\.pipeline\(")
    found = {
        str(path.relative_to(ROOT)): len(several.findall(path.read_text()))
        for folder in ("hub", "api", "workers")
        for path in sorted((ROOT / folder).rglob("*.py"))
    }
    assert {path: count for path, count in found.items() if count} == {
        "hub/cluster/sessions.py": 1,  # UNLINK of one person's sessions
        "hub/domain/people/sessions.py": 1,  # MGET of revoked and blacklist
        "hub/domain/statistics.py": 1,  # trending tags, a region each
        "hub/plumbing/stores/cache.py": 2,  # MGET of an entry and its group; marks and the channel
    }
