"""Schemathesis plays our own OpenAPI document against the running door: what it promises, it keeps.

The short form plays a few examples for each operation, valid and invalid; its report says how to
repeat a failure. `make fuzz` and CI play the bounds of every field, too: a thousand calls more.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.routes import ROUTES
from tests.conftest import FUZZ, SECRETS, examples

EXAMPLES = 3
PHASES = "examples,coverage,fuzzing" if FUZZ or os.environ.get("CI") else "examples,fuzzing"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "ignored_auth",
)


@pytest.mark.fuzz
async def test_the_door_keeps_what_its_document_promises(
    open_door: Callable[..., Any], tmp_path: Path
) -> None:
    door = await open_door(rate_max=10**6)
    await door.domain.pool.execute(
        "UPDATE service_clients SET calls_per_min = 1000000, items_per_min = 1000000"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "run", f"{door.url}/docs/openapi.json",
        "--checks", ",".join(CHECKS), "--max-examples", str(examples(EXAMPLES)), "--seed", "1",
        "--phases", PHASES, "--mode", "all", "--no-color",
        env=os.environ | {
            "SCHEMATHESIS_HOOKS": "tests.api.schema_hooks",
            "SCHEMA_JWT_SECRET": SECRETS["JWT_SECRET"],
            "SCHEMA_SERVICE_KEY": door.key,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-8000:]
    # and health
    assert f"Tested: {len(ROUTES) + 3}" in said.decode()
