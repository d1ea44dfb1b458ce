"""What a REST operation says of itself: the columns of product.md's table of endpoints."""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from msgspec import Struct

from protocol.payload import MAX_ITEMS

PREFIX: Final = "/api/v1"

Method = Literal["GET", "POST", "PUT", "DELETE"]


@dataclass(frozen=True, slots=True)
class Auth:
    """Who may call. `own` says whose thing it must be: the caller's own id, or of what they made.

    Admins may do what `admin` says, also with things that are not theirs. Kinds `user` and `admin`
    with a scope are for services, too, that have it. `proof` is what says who calls instead of a
    header.
    """

    kind: Literal["none", "user", "service", "admin", "link"]
    scope: str = ""
    own: Literal["", "self", "owner", "asker", "member"] = ""
    admin: bool = False
    proof: Literal["", "refresh token or cookie+csrf"] = ""

    def __str__(self) -> str:
        if self.kind == "link":
            return "signed link"
        if self.kind == "admin":
            return "admin" + (f" or service {self.scope}" if self.scope else "")
        if self.proof:
            return f"{self.kind} ({self.proof})"
        if self.kind == "service":
            return f"service {self.scope}" + (" or admin" if self.admin else "")
        text = self.kind + (f" ({self.own})" if self.own else "")
        if self.scope:
            return text + (", admin" if self.admin else "") + f", service {self.scope}"
        return text + (" or admin" if self.admin else "")


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit of the table: a figure a minute, or one of its words.

    `by` names the field of the body that is counted instead of the caller. With `unverified` (a
    minute and address) the route itself counts, for only a token that was read says whom.
    """

    word: Literal[
        "default",
        "anonymous default",
        "service",
        "exempt",
        "none when the signature holds, else anonymous default",
        "",
    ] = ""
    per_minute: int = 0
    by: str = ""
    unverified: int = 0

    def __str__(self) -> str:
        text = self.word or f"{self.per_minute}/min"
        text += f" per {self.by}" if self.by else ""
        if self.unverified:
            text += f"; {self.unverified}/min per IP for tokens that do not verify"
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row: `body`, `query` and `answer` are the forms, `status` is that of success.

    `idempotent`: takes an Idempotency-Key (‡). `cache_s`: how long anonymous callers may keep the
    answer, `edge_s`: how long caches between us and them, where that is another time. `max_items`:
    values in one body. `media`: of an answer that is no JSON form.
    """

    method: Method
    path: str
    auth: Auth
    rate: Rate
    summary: str
    tag: str
    status: int = 200
    body: Any = None
    query: type[Struct] | None = None
    answer: type[Struct] | None = None
    idempotent: bool = False
    cache_s: int = 0
    edge_s: int = 0
    max_items: int = MAX_ITEMS
    media: tuple[str, ...] = field(default=())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the path's parameters."""
        parts = self.path.split("/")
        return tuple(part[1:-1] for part in parts if part.startswith("{"))
