"""Peers that run on Node: the official server as a judge, the stock client."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

MODULES = Path(__file__).parents[2] / "node" / "node_modules"
AVAILABLE = shutil.which("node") is not None and MODULES.is_dir()
MISSING = "node and tests/node/node_modules are not here (npm ci --prefix tests/node)"


@asynccontextmanager
async def node(*command: str) -> AsyncIterator[asyncio.StreamReader]:
    """What such a program prints; it ends with its standard input."""
    if not AVAILABLE:
        pytest.skip(MISSING)
    process = await asyncio.create_subprocess_exec(
        "node",
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "NODE_PATH": str(MODULES)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.stdin.close()
        await process.wait()
