"""Soak: rounds of 100,000 connects and closes (clean, abrupt, half-open, refused); afterwards
nothing of them may be left, and memory may not grow from round to round.

    python -m tests.show.engine_soak [--cycles 100000]
"""

from __future__ import annotations

import argparse
import socket
import struct
import time
from collections import deque
from typing import Any

from tests.show import Verdict
from tests.show.engine_slow import HANDSHAKE, frame, served, state

BATCH = 200
PING = 1.0
GROWTH_LIMIT = 0.05
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST


class Soak:
    """Blocking sockets, ``BATCH`` at a time; half-open ones are left until the server has given
    them up."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._silent: deque[tuple[float, socket.socket]] = deque()

    def cycles(self, count: int) -> None:
        for first in range(0, count, BATCH):
            numbers = range(first, first + BATCH)
            opened = [(number, self._open(number)) for number in numbers]
            for number, sock in opened:
                self._hear(sock, b"44{" if number % 10 == 9 else b"430[true]")
            for number, sock in opened:
                self._close(number, sock)
            self._given_up(time.monotonic() - 2 * PING - 2)
        self._given_up(None)

    def _open(self, number: int) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self._port))
        connect = '40{"refuse":true}' if number % 10 == 9 else '40{"token":"t"}'
        join = f'420["join",{{"room":"r{number}","also":"r{number % 7}"}}]'
        sock.sendall(HANDSHAKE + frame(connect) + frame(join))
        return sock

    def _hear(self, sock: socket.socket, wanted: bytes) -> None:
        heard = b""
        while wanted not in heard:
            chunk = sock.recv(4096)
            if not chunk:
                raise ConnectionError(f"closed after {heard!r}")
            heard += chunk

    def _close(self, number: int, sock: socket.socket) -> None:
        kind = number % 10
        if kind == 8:  # half-open: it answers no ping
            self._silent.append((time.monotonic(), sock))
            return
        if kind < 4:
            sock.sendall(frame("41") + b"\x88\x80\0\0\0\0")
        elif kind < 8:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.close()

    def _given_up(self, before: float | None) -> None:
        """Half-open connections older than ``before`` (None: all) end by the server's hand."""
        while self._silent and (before is None or self._silent[0][0] < before):
            _, sock = self._silent.popleft()
            sock.settimeout(10)
            try:
                while sock.recv(4096):
                    pass
            except ConnectionResetError:
                pass
            sock.close()


def settled(port: int) -> dict[str, Any]:
    """The server's state once its last connections are gone."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = state(port)
        if found["sockets"] == found["sessions"] == found["deadlines"] == 0:
            break
        time.sleep(0.5)
    return found


def show(cycles: int = 100_000) -> Verdict:
    """Two rounds."""
    with served("--ping", str(PING)) as port:
        soak = Soak(port)
        soak.cycles(2_000)  # what is loaded and cached once
        start = settled(port)
        rounds = []
        started = time.monotonic()
        for _ in range(2):
            soak.cycles(cycles)
            rounds.append(settled(port))
        seconds = time.monotonic() - started
    first, second = rounds
    growth = second["rss"] / first["rss"] - 1
    left = [
        (end["sockets"], end["sessions"], end["rooms"], end["deadlines"], end["tasks"])
        for end in (start, first, second)
    ]
    # objects counted by the collector: the room of everyone stays, and so does the caller's own
    passed = (
        all(counts == (0, 0, 0, 0, start["tasks"]) for counts in left)
        and second["objects"]["Member"] == first["objects"]["Member"] == 0
        and second["objects"]["Connection"] == first["objects"]["Connection"] == 0
        and second["objects"]["Room"] == start["objects"]["Room"]
        and growth <= GROWTH_LIMIT
    )
    return Verdict(
        passed,
        f"cycles=2x{cycles} in {seconds:.0f} s, left: sockets/sessions/rooms/deadlines/tasks="
        f"{left[-1]}, objects={second['objects']}, RSS {start['rss'] / 2**20:.1f} → "
        f"{first['rss'] / 2**20:.1f} → {second['rss'] / 2**20:.1f} MiB ({growth:+.1%}), "
        f"closed={second['closed']}, refused={second['refused']}",
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, default=100_000)
    print(show(parser.parse_args().cycles))


if __name__ == "__main__":
    main()
