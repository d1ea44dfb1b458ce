"""Slow consumers: a room of 10,000 at 20 broadcasts of 250 bytes a second, 5 % of whose readers
stall. Interleaved pairs of runs with and without them; healthy readers are the C load generator,
stalled ones are sockets here that are never read.

    python -m tests.show.engine_slow [--pairs 5] [--members 10000]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.show import Verdict

BENCH = Path(__file__).parents[1] / "benchmarks"
SECONDS, RATE = 8, 20
HIGH = 262_144
PAD = "x" * 168
EVENT = '{"room":"%s","seq":{seq},"ts":{ts},"title":"' + PAD + '"}'
NEAREST, STEP = 6_000, 3_500
HANDSHAKE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
RSS_LIMIT, RATIO_LIMIT, URGENT_LIMIT = 64 << 20, 1.2, 100.0


def build_loadgen(folder: Path) -> Path:
    """The load generator. Raises CalledProcessError or FileNotFoundError without a compiler."""
    target = folder / "loadgen"
    subprocess.run(["cc", "-O2", "-w", "-o", str(target), str(BENCH / "loadgen.c")], check=True)
    return target


@contextmanager
def served(*more: str) -> Iterator[int]:
    """tests.show.engine_app on a free port, on the first processor."""
    command = ["taskset", "-c", "0", sys.executable, "-m", "tests.show.engine_app", *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def state(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/state", timeout=60) as answer:
        result: dict[str, Any] = json.load(answer)
        return result


def frame(text: str) -> bytes:
    payload = text.encode()
    head = (
        bytes((0x81, 0x80 | len(payload)))
        if len(payload) < 126
        else (bytes((0x81, 0xFE)) + len(payload).to_bytes(2, "big"))
    )
    return head + bytes(4) + payload


def stalled_reader(port: int, group: int) -> socket.socket:
    """A member of the room, and of its group, that reads no more once it is in."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    join = f'420["join",{{"room":"r0","also":"stalled{group}"}}]'
    sock.sendall(HANDSHAKE + frame("40") + frame(join))
    heard = b""
    while b"430[true]" not in heard:
        heard += sock.recv(4096)
    return sock


def fill(port: int, groups: int) -> None:
    """Bring each group of stalled readers near the high mark, one nearer than the other: people
    do not stall in one instant. The run's own events do the rest."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(HANDSHAKE + frame("40"))
        for group in range(groups):
            level = HIGH - NEAREST - group * STEP
            sock.sendall(frame(f'421["fill",{{"room":"stalled{group}","bytes":{level}}}]'))
            heard = b""
            while b"431[" not in heard:
                heard += sock.recv(4096)
            assert b"431[0]" not in heard, "nobody to stall"


def loadgen(program: Path, port: int, members: int, event: str, *more: str) -> Any:
    """A running load generator on the second processor."""
    room, sent = ("u0", "urgent") if event == "urgent" else ("r0", "pub")
    join = '420["join",{"room":"r%d"}]'
    if event == "urgent":
        join = '420["join",{"room":"u%d","also":"r0"}]'
    calm = ("nice", "-n", "-10") if event == "urgent" and os.geteuid() == 0 else ()
    command = [  # the load generator is as busy as the server: its share is not what is measured
        *(*calm, "taskset", "-c", "1", str(program), "-n", str(members), "--port", str(port)),
        *("--join", join, "--pub", f'42["{sent}",{EVENT % room}]', "--only", f'"{event}"'),
        *more,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def one_run(program: Path, members: int, stalled: int, groups: int) -> dict[str, float]:
    """p99 of the healthy readers and of the urgent events (ms), RSS growth, what was closed."""
    with served() as port:
        readers = [stalled_reader(port, index % groups) for index in range(stalled)]
        healthy = loadgen(
            program, port, members - stalled - 100, "q",
            "--rate", str(RATE), "--dur", str(SECONDS), "--settle", "5",
        )  # fmt: skip
        while state(port)["sockets"] < members - 100:
            time.sleep(0.2)
        before = state(port)["rss"]
        if stalled:
            fill(port, groups)
        urgent = loadgen(
            program, port, 100, "urgent", "--rate", "5", "--dur", str(SECONDS - 2), "--warm", "2"
        )
        heard = json.loads(healthy.communicate(timeout=120)[0])
        alerts = json.loads(urgent.communicate(timeout=120)[0])
        after = state(port)
        for reader in readers:
            reader.close()
    return {
        "p99": heard["latency_us"]["p99"] / 1000,
        "lost": heard["incomplete"],
        "urgent": alerts["latency_us"]["p99"] / 1000,
        "rss": after["rss"] - before,
        "slow": after["closed"].get("slow consumer", 0),
        "dropped": after["dropped"]["volatile"],
    }


def show(pairs: int = 5, members: int = 10_000, groups: int = 1) -> Verdict:
    """The figures of all pairs."""
    stalled = members // 20
    with_, without = [], []
    with tempfile.TemporaryDirectory() as folder:
        program = build_loadgen(Path(folder))
        for _ in range(pairs):
            without.append(one_run(program, members, 0, groups))
            with_.append(one_run(program, members, stalled, groups))
    ratio = statistics.median(
        slow["p99"] / free["p99"] for slow, free in zip(with_, without, strict=True)
    )
    growth = max(run["rss"] for run in with_)
    urgent = statistics.median(run["urgent"] for run in with_)
    passed = (
        ratio <= RATIO_LIMIT
        and growth < RSS_LIMIT
        and urgent <= URGENT_LIMIT
        and all(run["slow"] == stalled and run["dropped"] > 0 for run in with_)
        and all(run["lost"] == 0 for run in with_ + without)
    )
    return Verdict(
        passed,
        f"members={members} stalled={stalled} pairs={pairs} p99 ratio={ratio:.2f} "
        f"p99={_list(with_, 'p99')} without={_list(without, 'p99')} ms, RSS growth="
        f"{growth / 2**20:.1f} MiB, closed as slow consumer={_list(with_, 'slow')}, volatile "
        f"dropped={_list(with_, 'dropped')}, urgent p99={_list(with_, 'urgent')} ms",
    )


def _list(runs: list[dict[str, float]], key: str) -> str:
    return "/".join(f"{run[key]:.0f}" for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--groups", type=int, default=1, help="that stall at different moments")
    args = parser.parse_args()
    print(show(args.pairs, args.members, args.groups))


if __name__ == "__main__":
    main()
