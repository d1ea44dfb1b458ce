"""Pages of lists: by key, or by number."""

from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.payload import Id, Request


class PageQuery(Request):
    """`after` is the `next` of the page before."""

    after: Id | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class Pagination(msgspec.Struct, kw_only=True):
    """The source's own names (S2-122)."""

    current_page: int
    per_page: int
    total: int
    total_pages: int
