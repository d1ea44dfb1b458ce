"""A push as APNs wants it (Apple, "Generating a remote notification").

How it is delivered is the same by whatever way it comes to APNs: `workers.channels.push`.
"""

import orjson

from workers.channels.message import Message
from workers.channels.push import aps, push_data, shown


def apns_payload(push: Message) -> bytes:
    """At most 4,096 bytes of JSON: the app's data beside Apple's part."""
    data = push_data(push)
    block = aps(push)
    if not push.silent:
        block["alert"] = shown(push, data)
    return orjson.dumps({"aps": block, **data})
