"""A device's copy of its person's inbox, kept as deploy/docs/inbox.md tells: events are applied
where their numbers follow, and `inbox:sync` gives the rest.
"""

from collections import Counter
from datetime import datetime
from typing import Any, Final

Row = dict[str, Any]

MOMENTS: Final = ("acknowledgedAt", "seenAt", "readAt", "retractedAt")
"""Of these a copy knows whether, not when; whether something was shown is each device's own."""


def as_kept(item: Row) -> Row:
    """A row of the server, as a copy keeps it."""
    row = {name: value for name, value in item.items() if name not in MOMENTS}
    for name in ("createdAt", "expiresAt"):
        if row.get(name) is not None:
            row[name] = datetime.fromisoformat(row[name])
    row["read"] = item.get("readAt") is not None
    row["seen"] = item.get("seenAt") is not None
    row["retracted"] = item.get("retractedAt") is not None
    return row


class Copy:
    """`next`: everything up to this number is in the rows. `behind`: something is missing, so that
    `inbox:sync` must be asked; `held`: what was heard while it is, or a fetch, is under way.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.next = 0
        self.behind = True
        self.held: list[tuple[str, Row]] | None = None
        self.syncs = 0
        self.applied = 0

    def ask(self) -> None:
        """A request goes out; what is heard from here on waits for its answer."""
        self.held = []

    def fetched(self, pages: list[list[Row]], now: datetime) -> None:
        """The whole inbox over REST, page by page; it reaches as far as its first page."""
        self.rows = {item["id"]: as_kept(item) for page in pages for item in page}
        self.next = max((item["seq"] for item in pages[0]), default=0)
        self.behind = True
        self._go_on(now)

    def synced(self, pages: list[Row], now: datetime) -> None:
        """What `inbox:sync` gave, until a page was not full."""
        self.syncs += 1
        for page in pages:
            if page["reset"]:
                self.rows.clear()
            for item in page["items"]:
                if item.get("deleted"):
                    self.rows.pop(item["id"], None)
                else:
                    self.rows[item["id"]] = as_kept(item)
            self.next = page["next"]
        self.behind = False
        self._go_on(now)

    def marked(self, ids: list[str], state: str) -> None:
        """This device's own mark was taken: it is not told of it, and does not know its numbers."""
        for id in ids:
            self._set(id, state)
        self.behind = True

    def ready(self) -> None:
        """A new connection, recovered or not: counts are never recovered."""
        self.behind = True

    def hear(self, event: str, data: Row, now: datetime) -> None:
        if self.held is not None:
            self.held.append((event, data))
        elif event == "inbox:unread":
            self.behind |= (data["count"], data["byKind"]) != self.unread(now)
        elif data["seq"] > self.next:
            self._apply(event, data)

    def _apply(self, event: str, data: Row) -> None:
        ids = [data["id"]] if event == "notification:new" else data["ids"]
        if data["seq"] - len(ids) != self.next or data.get("state") == "retracted":
            self.behind = True  # something is missing, or the words of these may be gone
            return
        self.applied += 1
        for id in ids:
            self.next += 1
            if event == "notification:new":
                self.rows[id] = as_kept(data)
            else:
                self._set(id, data["state"])
                if id in self.rows:
                    self.rows[id]["seq"] = self.next

    def _set(self, id: str, state: str) -> None:
        if state == "deleted":
            self.rows.pop(id, None)
        elif id in self.rows:
            self.rows[id][state] = True
            self.rows[id]["seen"] |= state == "read"  # which implies it

    def _go_on(self, now: datetime) -> None:
        held, self.held = self.held or [], None
        for event, data in held:
            self.hear(event, data, now)

    def unread(self, now: datetime) -> tuple[int, dict[str, int]]:
        kinds = Counter(
            row["kind"]
            for row in self.rows.values()
            if not (row["read"] or row["retracted"])
            and (row.get("expiresAt") is None or row["expiresAt"] > now)
        )
        return kinds.total(), dict(kinds)
