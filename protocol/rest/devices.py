"""Devices that take pushes."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from protocol.payload import Message, Request
from protocol.web_push import read_subscription


class DeviceRequest(Request):
    """A token is printable ASCII, as every provider's is, and no longer than its index takes
    (2,704 bytes a row of PostgreSQL's B-tree). Of a browser it is the subscription as JSON, as
    `JSON.stringify(subscription)` makes it, and it is kept in one normal form.
    """

    platform: Literal["ios", "android", "web"]
    token: Annotated[str, Meta(pattern=r"^[ -~]+$(?!\n)", min_length=1, max_length=2048)]
    environment: Literal["production", "sandbox"] = "production"
    app_version: Annotated[str, Meta(max_length=50)] | None = None
    locale: Annotated[str, Meta(max_length=35)] | None = None

    def __post_init__(self) -> None:
        if self.platform == "web":
            self.token = read_subscription(self.token).text()


class Device(Message):
    """The token is never given back."""

    id: str
    platform: str
    environment: str
    app_version: str | None
    locale: str | None
    created_at: datetime
    disabled_reason: str | None = None


class Devices(Message):
    items: tuple[Device, ...]


class DeviceTest(Message):
    """`notificationId` is what the push says of itself; it stands in no inbox."""

    notification_id: str


class WebKey(Message):
    """`publicKey` is what a browser subscribes with: its `applicationServerKey`; null where nothing
    is sent to browsers.
    """

    public_key: str | None
