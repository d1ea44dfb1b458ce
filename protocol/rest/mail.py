"""What a mail provider tells of addresses."""

from typing import Annotated, Literal

from msgspec import Meta

from protocol.payload import Moment, Request


class MailFeedback(Request):
    address: Annotated[str, Meta(min_length=3, max_length=512)]
    kind: Literal["bounce", "complaint"]
    at: Moment
