"""People: who they are, and how they want to be told."""

from datetime import datetime
from functools import cache
from typing import Annotated, Final
from zoneinfo import available_timezones

from msgspec import UNSET, Meta, UnsetType

from protocol.mail_address import MAX_ADDRESS, read_address
from protocol.normal import hashtags_of
from protocol.payload import Hashtag, Id, Message, Request

MOST_FOLLOWED: Final = 20
"""Hashtags of one person: each is a room of all their sockets."""

MOST_MUTED: Final = 100
LEAST_RADIUS_M: Final = 500
MOST_RADIUS_M: Final = 20_000

Locale = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$(?!\n)", min_length=2, max_length=35),
]
"""A language tag (BCP 47), as phones write it: `ko`, `en-GB`, `en_GB`."""

TimeOfDay = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)")]
"""HH:MM on the wall of the person's time zone."""

Hashtags = Annotated[tuple[Hashtag, ...], Meta(max_length=MOST_FOLLOWED)]
Radius = Annotated[int, Meta(ge=LEAST_RADIUS_M, le=MOST_RADIUS_M)]
Muted = Annotated[tuple[Id, ...], Meta(max_length=MOST_MUTED)]


class Profile(Message):
    """`locationConsent`: whether positions may be kept."""

    id: str
    nickname: str
    email: str | None
    region_code: str
    neighbourhood_code: str | None
    is_local_verified: bool
    locale: str
    timezone: str
    kakao_user_key: str | None
    location_consent: bool
    created_at: datetime


class ProfileChange(Request):
    """What is left out stays. `email`, `isLocalVerified` and `kakaoUserKey` are for services and
    administrators to say; `locationConsent: false` deletes the position.
    """

    nickname: Annotated[str, Meta(min_length=1, max_length=50)] | UnsetType = UNSET
    neighbourhood_code: Id | UnsetType | None = UNSET
    locale: Locale | UnsetType = UNSET
    timezone: Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType = UNSET
    location_consent: bool | UnsetType = UNSET
    email: Annotated[str, Meta(min_length=3, max_length=MAX_ADDRESS)] | UnsetType | None = UNSET
    is_local_verified: bool | UnsetType = UNSET
    kakao_user_key: Id | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        if isinstance(self.timezone, str) and self.timezone not in _zones():
            raise ValueError("timezone is no name of the IANA time zone database, as Asia/Seoul")
        if isinstance(self.email, str):
            self.email = read_address(self.email).mailbox


class Preferences(Message):
    """`quietFrom` to `quietTo` is told by the clock of the person's time zone; null, both: none."""

    push_enabled: bool
    email_enabled: bool
    kakao_enabled: bool
    urgent_enabled: bool
    answer_enabled: bool
    digest_enabled: bool
    radius_m: int
    muted_neighbourhoods: tuple[str, ...]
    followed_hashtags: tuple[str, ...]
    quiet_from: str | None
    quiet_to: str | None
    urgent_in_quiet: bool


class PreferencesChange(Request):
    """What is left out stays; quiet hours begin and end, or there are none (both null)."""

    push_enabled: bool | UnsetType = UNSET
    email_enabled: bool | UnsetType = UNSET
    kakao_enabled: bool | UnsetType = UNSET
    urgent_enabled: bool | UnsetType = UNSET
    answer_enabled: bool | UnsetType = UNSET
    digest_enabled: bool | UnsetType = UNSET
    radius_m: Radius | UnsetType = UNSET
    muted_neighbourhoods: Muted | UnsetType = UNSET
    followed_hashtags: Hashtags | UnsetType = UNSET
    quiet_from: TimeOfDay | UnsetType | None = UNSET
    quiet_to: TimeOfDay | UnsetType | None = UNSET
    urgent_in_quiet: bool | UnsetType = UNSET

    def __post_init__(self) -> None:
        if not isinstance(self.followed_hashtags, UnsetType):
            self.followed_hashtags = hashtags_of(self.followed_hashtags)
        if not isinstance(self.muted_neighbourhoods, UnsetType):
            self.muted_neighbourhoods = tuple(dict.fromkeys(self.muted_neighbourhoods))


@cache
def _zones() -> frozenset[str]:
    """Read from the disk once."""
    return frozenset(available_timezones())
