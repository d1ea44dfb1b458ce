"""The bytes of answers that are given again and again, and of the heads before them.

What comes from the cache is shared and changed by nobody, so the same object is the same answer: it
is written as JSON once, and compressed once; and who asks as most do is given the same head but for
its last lines.
"""

import gzip
from collections import OrderedDict
from functools import cached_property
from typing import Final, NamedTuple

import msgspec
from aiohttp import web

MOST: Final = 256
"""Answers kept, the one given longest ago goes first; a page of a list has some 10 KB."""


class Body:
    """One answer's bytes. `answer` is kept with them: its identity is their name. `heads`: by what
    they differ in, without their last lines (api.headers.prepared)."""

    def __init__(self, answer: msgspec.Struct) -> None:
        self.answer = answer
        self.plain = msgspec.json.encode(answer)
        self.heads: dict[tuple[bool, bool, str], bytes] = {}

    @cached_property
    def packed(self) -> bytes:
        return pack(self.plain)


BODY: Final = web.ResponseKey("body", Body)


class Shared(NamedTuple):
    """An answer from our own cache, and how long others may keep it ("" where nobody may)."""

    body: Body
    cache_control: str


def pack(body: bytes) -> bytes:
    """As gzip (S4-04)."""
    return gzip.compress(body, 6, mtime=0)


class Bodies:
    def __init__(self) -> None:
        self._kept: OrderedDict[int, Body] = OrderedDict()

    def of(self, answer: msgspec.Struct) -> Body:
        name = id(answer)
        kept = self._kept.get(name)
        if kept is not None:
            self._kept.move_to_end(name)
            return kept
        body = self._kept[name] = Body(answer)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return body
