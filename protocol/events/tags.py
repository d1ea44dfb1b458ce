"""Hashtags that a person follows."""

from typing import Final

from protocol.events.row import ClientEvent
from protocol.normal import hashtags_of
from protocol.payload import Hashtag, Message, Request


class TagRef(Request):
    """In whatever spelling: it is followed in its normal form, without the sign in front."""

    hashtag: Hashtag

    def __post_init__(self) -> None:
        tags = hashtags_of((self.hashtag,))
        if not tags:
            raise ValueError("A hashtag shows something")
        self.hashtag = tags[0]


class Followed(Message):
    """All that the person follows now."""

    hashtags: tuple[str, ...]


CLIENT: Final = (
    ClientEvent("tag:follow", TagRef, Followed),
    ClientEvent("tag:unfollow", TagRef, Followed),
)
"""Each is a room of all the person's sockets, on whatever node they are."""
