"""People who come back by themselves: many light ones, a few on the stock Python client."""

import asyncio
import random
from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import Any

import orjson
import socketio

from tests.stories.cluster.ledger import Mark
from tests.stories.cluster.wire import Wire
from tests.stories.readme import names_of

EVENT = "news"
PATIENCE = 20.0


def stock_delay(tries: int) -> float:
    """s, as socket.io-client backs off by default: 1 s doubled to 5 s, give or take a half."""
    longest: float = min(1.0 * 2**tries, 5.0)
    return longest * random.uniform(0.5, 1.5)


class Client:
    """Keeps its pid and the last offset it handled, as socket.io-client does; says
    `recovery: false` where it is told to, and then repairs nothing by itself.

    `heard` are the numbers of the events in order, with a mark where it was not recovered and where
    it was in its rooms again; `gaps` the s from each loss to the next `ready`; `waits` the s from
    publishing to hearing, `heard_at` the moments (monotonic).
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        recovery: bool = True,
        questions: Sequence[str] = (),
        delay: Callable[[int], float] = stock_delay,
    ) -> None:
        self.url = url
        self.token = token
        self.recovery = recovery
        self.questions = questions
        self.delay = delay
        self.known: dict[str, Any] = {}
        self.heard: list[int | Mark] = []
        self.others: list[tuple[str, Any]] = []
        self.gaps: list[float] = []
        self.waits: list[float] = []
        self.heard_at: list[float] = []
        self.ready: dict[str, Any] = {}
        self.refusal: Any = None
        self.joined = asyncio.Event()
        self.synced: set[str] = set()
        self._after = 0
        self._syncing = asyncio.Lock()
        self._wire: Wire | None = None
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._tries = 0
        self._lost_at = 0.0
        self._closed = False
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def auth(self) -> dict[str, Any]:
        if not self.recovery:
            return {"token": self.token, "recovery": False}
        return {"token": self.token, **self.known}

    async def connect(self) -> "Client":
        """Dial for the first time; returns when it is in its rooms."""
        self._spawn(self._dial())
        async with asyncio.timeout(PATIENCE):
            await self.joined.wait()
        return self

    async def call(self, event: str, data: Any = None) -> Any:
        """The answer; raises ConnectionError when the connection breaks before it."""
        if self._wire is None:
            raise ConnectionError
        self._number += 1
        future = self._calls[self._number] = asyncio.get_running_loop().create_future()
        self._wire.send(b"2%d" % self._number + orjson.dumps([event, data]))
        async with asyncio.timeout(PATIENCE):
            return await future

    def drop(self) -> None:
        """The connection breaks; it comes back after its delay."""
        if self._wire is not None:
            self._wire.abort()

    def deafen(self) -> None:
        """Half-open: it reads nothing more, and its node cannot know."""
        if self._wire is not None:
            self._wire.pause()

    def park(self) -> None:
        """The connection breaks, and does not come back before `resume`."""
        self.delay = lambda _: 1e6
        self.drop()

    async def resume(self) -> None:
        """Dial again; returns at `ready`."""
        self.delay = stock_delay
        self.ready = {}
        self._spawn(self._dial())
        async with asyncio.timeout(PATIENCE):
            while not self.ready:
                await asyncio.sleep(0.01)

    async def sync(self) -> None:
        """inbox:sync until there is no more: what stands there is known from now on."""
        async with self._syncing:
            while True:
                page = await self.call("inbox:sync", {"after": self._after})
                if not page.get("ok"):
                    raise ConnectionError(page)
                self.synced.update(item["id"] for item in page["items"])
                self._after = page["next"]
                if len(page["items"]) < 100:
                    return

    async def close(self) -> None:
        self._closed = True
        self.drop()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- the connection --------------------------------------------------------------------------

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dial(self) -> None:
        try:
            self._wire = await Wire.dial(self.url, self.auth, self._packet, self._gone)
        except OSError:
            self._again()

    def _gone(self) -> None:
        self._wire = None
        if not self._lost_at:
            self._lost_at = monotonic()
        for future in self._calls.values():
            if not future.done():
                future.set_exception(ConnectionError("lost"))
                future.exception()  # whoever waits raises it; nobody may be waiting
        self._calls.clear()
        self._again()

    def _again(self) -> None:
        if not self._closed:
            wait = self.delay(self._tries)
            self._tries += 1
            self._spawn(self._later(wait))

    async def _later(self, wait: float) -> None:
        await asyncio.sleep(wait)
        await self._dial()

    # --- packets ---------------------------------------------------------------------------------

    def _packet(self, packet: bytes) -> None:
        kind = packet[:1]
        if kind == b"2":
            self._event(orjson.loads(packet[packet.index(b"[") :]))
        elif kind == b"3":
            at = packet.index(b"[")
            future = self._calls.pop(int(packet[1:at]), None)
            if future is not None and not future.done():
                future.set_result(orjson.loads(packet[at:])[0])
        elif kind == b"0":
            self.known.update(_pid(orjson.loads(packet[1:])))
        elif kind == b"4":
            self.refusal = orjson.loads(packet[1:])
            self._closed = True

    def _event(self, args: list[Any]) -> None:
        event, data = args[0], args[1]
        if event == EVENT:
            self.heard.append(data["seq"])
            self.waits.append(time() - data["ts"] / 1000)
            self.heard_at.append(monotonic())
        elif event == "ready":
            self._on_ready(data)
        else:
            self.others.append((event, data))
            if event == "notification:new":
                self.synced.add(data["id"])
        if self.recovery and len(args) > 2 and isinstance(args[-1], str):
            self.known["offset"] = args[-1]

    def _on_ready(self, ready: dict[str, Any]) -> None:
        self._tries = 0
        if self._lost_at:
            self.gaps.append(monotonic() - self._lost_at)
            self._lost_at = 0.0
        self.ready = ready
        if ready["recovered"]:
            self.joined.set()
        else:
            if self.joined.is_set():
                self.heard.append(Mark.TOLD)
            self._spawn(self._begin())

    async def _begin(self) -> None:
        """Into its rooms, and what the inbox holds."""
        try:
            for question in self.questions:
                while not (await self.call("question:join", {"questionId": question})).get("ok"):
                    await asyncio.sleep(1)
            if not self.recovery:
                await self.sync()
        except ConnectionError:
            return  # the next connection begins anew
        if self.joined.is_set():
            self.heard.append(Mark.BACK)
        self.joined.set()


def _pid(reply: dict[str, Any]) -> dict[str, Any]:
    return {"pid": reply["pid"]} if "pid" in reply else {}


class StockPython:
    """python-socketio's own client. It has no recovery: it either runs the ten lines of the README,
    or says so and repairs with inbox:sync.
    """

    def __init__(self, url: str, token: str, *, recovery: bool, questions: Sequence[str]) -> None:
        self.url = url
        self.recovery = recovery
        self.questions = questions
        self.heard: list[int | Mark] = []
        self.synced: set[str] = set()
        self.joined = asyncio.Event()
        self._after = 0
        self.sio = socketio.AsyncClient()
        if recovery:
            recovering = names_of("recovering.py")["recovering"]
            self._auth = recovering(self.sio, lambda: token, self._show)
        else:
            self._auth = lambda: {"token": token, "recovery": False}
            self.sio.on("*", self._show)

    async def connect(self) -> "StockPython":
        await self.sio.connect(self.url, auth=self._auth, transports=["websocket"])
        async with asyncio.timeout(PATIENCE):
            await self.joined.wait()
        return self

    def _show(self, event: str, data: Any) -> None:
        if event == EVENT:
            self.heard.append(data["seq"])
        elif event == "notification:new":
            self.synced.add(data["id"])
        elif event == "ready" and not data["recovered"]:
            if self.joined.is_set():
                self.heard.append(Mark.TOLD)
            self.sio.start_background_task(self._begin)

    async def _begin(self) -> None:
        try:
            for question in self.questions:
                await self.sio.call("question:join", {"questionId": question})
            if not self.recovery:
                await self.sync()
        except (socketio.exceptions.SocketIOError, TimeoutError):
            return  # it broke again: the next connection begins anew
        if self.joined.is_set():
            self.heard.append(Mark.BACK)
        self.joined.set()

    async def sync(self) -> None:
        while True:
            page = await self.sio.call("inbox:sync", {"after": self._after})
            self.synced.update(item["id"] for item in page["items"])
            self._after = page["next"]
            if len(page["items"]) < 100:
                return

    async def close(self) -> None:
        await self.sio.disconnect()
