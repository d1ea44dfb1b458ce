"""Drives peer.js: a Node server, its stock clients and the official emitter."""

import asyncio
import base64
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
MODULES = HERE.parents[1] / "node" / "node_modules"


class NodePeer:
    """One process; ends with the pipe it reads from."""

    def __init__(self, process: asyncio.subprocess.Process):
        self._process = process
        self._number = 0

    @classmethod
    async def start(cls, url: str, key: str, kind: str = "classic") -> "NodePeer":
        """`kind` of adapter: classic or sharded."""
        if shutil.which("node") is None or not MODULES.is_dir():
            pytest.skip(
                "node and tests/node/node_modules are not here (npm ci --prefix tests/node)"
            )
        process = await asyncio.create_subprocess_exec(
            "node",
            str(HERE / "peer.js"),
            url,
            key,
            kind,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "NODE_PATH": str(MODULES)},
            limit=2**24,
        )
        peer = cls(process)
        await peer._read()
        return peer

    async def __call__(self, operation: str, *args: Any) -> Any:
        """Runs one operation of peer.js. Raises RuntimeError when it failed there."""
        assert self._process.stdin is not None
        self._number += 1
        line = json.dumps([self._number, operation, *args], default=_bytes_out)
        self._process.stdin.write(line.encode() + b"\n")
        return await self._read()

    async def until(self, true: Callable[[Any], object], operation: str, *args: Any) -> Any:
        """Asks again until the answer is right."""
        async with asyncio.timeout(10):
            while not true(answer := await self(operation, *args)):
                await asyncio.sleep(0.01)
        return answer

    async def _read(self) -> Any:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 20)
        number, result, *error = json.loads(line, object_hook=_bytes_in)
        assert number == self._number
        if error:
            raise RuntimeError(error[0])
        return result

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.wait_for(self._process.wait(), 10)


def _bytes_out(value: Any) -> Any:
    return {"$b": base64.b64encode(value).decode()}


def _bytes_in(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["$b"]) if "$b" in value else value
