"""What `dongne tail` prints of a message: tokens, texts and positions are cut as in the logs."""

import json
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from math import isfinite
from typing import Any, Final

from hub.cluster.tail import Passed
from hub.plumbing.telemetry.redaction import CUT, Redactor

DATA_WIDTH: Final = 160
"""Characters of a message's data in a line of text."""

MAX_DEPTH: Final = 8


class Lines:
    """`room` is a glob; empty: every message. Malformed ones have no room and pass always."""

    def __init__(self, redactor: Redactor, room: str, as_json: bool) -> None:
        self._redactor = redactor
        self._room = room
        self._as_json = as_json

    def of(self, passed: Passed) -> str | None:
        if not self._is_wanted(passed):
            return None
        return self._json(passed) if self._as_json else self._text(passed)

    def _is_wanted(self, passed: Passed) -> bool:
        if not self._room or passed.klass == "malformed":
            return True
        return any(fnmatchcase(room, self._room) for room in passed.rooms)

    def _text(self, passed: Passed) -> str:
        """Time in UTC, namespace, rooms, event, class and offset, size, data."""
        time = datetime.fromtimestamp(passed.at, UTC).strftime("%H:%M:%S.%f")[:-3]
        if passed.klass == "malformed":
            return shown(f"{time} {passed.channel} malformed: {passed.event} {passed.size}B")
        rooms = ",".join((*passed.rooms, *(f"-{room}" for room in passed.except_rooms))) or "*"
        klass = f"{passed.klass}/{passed.offset}" if passed.offset else passed.klass
        _, data = self._said(passed.said)
        if len(data) > DATA_WIDTH:
            data = data[: DATA_WIDTH - 1] + "…"
        head = f"{time} {passed.namespace} {rooms} {passed.event} {klass} {passed.size}B"
        return shown(f"{head} {data}")

    def _json(self, passed: Passed) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(passed.at, UTC).isoformat(timespec="milliseconds"),
            "channel": passed.channel,
            "class": passed.klass,
            "size": passed.size,
        }
        if passed.klass == "malformed":
            return json.dumps(line | {"error": passed.event})
        plain, text = self._said(passed.said)
        return json.dumps(
            line
            | {
                "namespace": passed.namespace,
                "rooms": passed.rooms,
                "except": passed.except_rooms,
                "event": passed.event,
                "offset": passed.offset or None,
                "data": text if plain is None else plain,
            }
        )

    def _said(self, said: Any) -> tuple[Any, str]:
        """What a message carries, and its text: fields are cut by their names, then whatever in
        the text still looks private. Where that found something, the text is all there is.
        """
        plain = self._redactor(None, "", {"said": _plain(said, 0)})["said"]
        text = json.dumps(plain, ensure_ascii=False)
        cut = self._redactor.text(text)
        return (plain if cut == text else None), cut


def _plain(value: Any, depth: int) -> Any:
    """Only what JSON can say; bytes as their number."""
    if depth > MAX_DEPTH:
        return CUT
    if isinstance(value, dict):
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value


def shown(text: str) -> str:
    """A line for a terminal: what is no character to print is written as a number."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
