"""The table of Kakao's answers. Sources: Kakao Developers, "REST API: Error code" (Common, Kakao
Login) and "Kakao Talk Message: Error code".

No documented answer says that a user's key is dead for good, so none is ever pruned.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from workers.channels.http import retry_after
from workers.channels.outcome import Act, Outcome, Sent

CODES: Final[dict[int, Act]] = {
    -1: Act.RETRY,  # an error within
    -2: Act.DROP,  # a parameter is wrong, or the receiver is no uuid of theirs
    -3: Act.ALARM,  # a feature is not activated
    -4: Act.ALARM,  # our account is restricted
    -5: Act.ALARM,  # our app has no permission
    -6: Act.ALARM,  # what we ask for is not allowed
    -7: Act.RETRY,  # under maintenance
    -8: Act.ALARM,  # a header is wrong
    -9: Act.ALARM,  # the API is no more
    -10: Act.ALARM,  # our quota
    -11: Act.ALARM,  # our paid limit
    -12: Act.ALARM,  # our app is suspended
    -101: Act.ALARM,  # the sending account is not linked
    -103: Act.ALARM,  # the sending account does not exist
    -401: Act.ALARM,  # our token
    -402: Act.ALARM,  # a consent that the sending account has not given
    -501: Act.ALARM,  # the sending account has no KakaoTalk
    -502: Act.DROP,  # the receiver is no friend of the sender
    -530: Act.DROP,  # the receiver refuses messages
    -532: Act.ALARM,  # what the sender may send a day
    -533: Act.DROP,  # what the receiver may get a day: tomorrow is too late
    -536: Act.DROP,  # what the two may exchange a day
    -603: Act.RETRY,  # a time-out within
    -903: Act.ALARM,  # our app key is unknown
    -9798: Act.RETRY,  # under maintenance
}

_BY_HTTP: Final[dict[int, Act]] = {
    **dict.fromkeys((401, 403, 404, 405), Act.ALARM),
    **dict.fromkeys((408, 429), Act.RETRY),
}
"""Where no code is known: of 4xx the rest is about this message, anything else is theirs."""


def classify(
    status: int, headers: Mapping[str, str], body: Any, user_key: str, now: datetime
) -> Outcome:
    """Taken over, or what the answer says of this one receiver. Among several a message may fail
    for one with HTTP 200, and then failure_info says why.

    A code we do not know is named by the status, so that no text of theirs is stored.
    """
    answer = body if isinstance(body, dict) else {}
    failure = _failure(answer, user_key)
    if 200 <= status < 300 and failure is None:
        return Sent("")  # taken over without a receiver we can read is still taken over
    code = (failure or answer).get("code")
    wait = retry_after(headers.get("Retry-After"), now)
    if isinstance(code, int) and code in CODES:
        act, name = CODES[code], f"kakao_{code}"
    else:
        other = Act.DROP if 200 <= status < 500 else Act.RETRY
        act, name = _BY_HTTP.get(status, other), f"http_{status}"
    return act.outcome(name, None if act is Act.DROP else wait)


def _failure(answer: dict[str, Any], user_key: str) -> dict[str, Any] | None:
    listed = answer.get("failure_info")
    for one in listed if isinstance(listed, list) else []:
        receivers = one.get("receiver_uuids") if isinstance(one, dict) else None
        if isinstance(receivers, list) and user_key in receivers:
            return one  # type: ignore[no-any-return]
    return None
