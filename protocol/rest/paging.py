"""Pages of lists: by key, or by number."""

from base64 import urlsafe_b64encode
from functools import cached_property
from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.payload import Id, Request


class PageQuery(Request):
    """`after` is the `next` of the page before."""

    after: Id | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class CachedQuery(Request, dict=True):
    """What is asked of a list whose answers are kept: all who ask the same share one form, so its
    name is made once."""

    @cached_property
    def name(self) -> str:
        """The query as the name of what it asks for (S2-094)."""
        return urlsafe_b64encode(msgspec.json.encode(self)).decode()


class Pagination(msgspec.Struct, kw_only=True):
    """The source's own names (S2-122)."""

    current_page: int
    per_page: int
    total: int
    total_pages: int
